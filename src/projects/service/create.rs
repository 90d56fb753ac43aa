//! Creation of projects, under the id that the request names or under the next free id.

use std::{collections::BTreeMap, sync::Arc};

use talus_actors::{
    domain::{
        blueprint::Blueprint,
        command::{Author, Command, CreateNode},
        ids::{CommandId, ProjectId, SessionId},
        session::Project,
    },
    hub::{ChosenIds, HubError, NewSession},
    session_actor::SessionView,
};

use super::{ProjectError, ProjectService};
use crate::{
    command_instrumentation::{context, submit},
    templates::TemplateLoadError,
};

/// Maximum number of ids that are tried for a project whose id is taken.
const PROJECT_IDS_TRIED_MAX: usize = 1_000;

/// Request to create a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProject {
    /// Name of the project, checked against the limits.
    pub project_name: String,
    /// Text that names the template.
    pub template_id: String,
    /// Id of the project. `None`: derived from the name, with a number if the id is taken.
    pub project_id: Option<ProjectId>,
}

/// Project with its session.
#[derive(Debug)]
pub struct CreatedProject {
    /// Id of the session.
    pub session_id: SessionId,
    /// Id of the project.
    pub project_id: ProjectId,
    /// State of the session after its first command.
    pub snapshot: SessionView,
}

impl ProjectService {
    /// Creates a project with a session and a root node. A repeated request returns the session of the first.
    ///
    /// # Errors
    /// Returns an error if the id is taken, if the template cannot be loaded, or if the hub refuses the session.
    pub async fn create(
        &self,
        new: NewProject,
        author: Author,
        chosen: ChosenIds,
    ) -> Result<CreatedProject, ProjectError> {
        let NewProject {
            project_name,
            template_id,
            project_id,
        } = new;
        let is_named = project_id.is_some();
        let (wanted, ids_max) = match project_id {
            Some(project_id) => (project_id, 1),
            None => (derived_id(&project_name)?, PROJECT_IDS_TRIED_MAX),
        };
        let blueprint = self.blueprint(template_id).await?;
        let root = CreateNode {
            node_type: blueprint.root_type().id.as_str().into(),
            name: Some(project_name.as_str().into()),
            parent_id: None,
            index: None,
            properties: BTreeMap::new(),
            node_id: None,
        };
        let project = Project {
            project_id: wanted,
            project_name: project_name.into(),
            template_id: Some(blueprint.id().clone()),
        };
        let first = Command::CreateProject { root };
        let repeated = match chosen.session_id {
            Some(session_id) => {
                let first = Repeated {
                    session_id,
                    is_named,
                    project: &project,
                    first: &first,
                };
                self.find_repeated(first, &author, chosen.command_id).await?
            }
            None => None,
        };
        let (session_id, project_id) = match repeated {
            Some(before) => before,
            None => self.create_unique(project, first, author, chosen, ids_max).await?,
        };
        Ok(CreatedProject {
            session_id,
            project_id,
            snapshot: self.await_first_command(session_id).await?,
        })
    }

    /// Returns the session that an earlier attempt of the same request created, if there is one. A hub that failed
    /// during the first attempt may have left the session without its first command, so the command is submitted again
    /// under its id.
    async fn find_repeated(
        &self,
        repeated: Repeated<'_>,
        author: &Author,
        command_id: Option<CommandId>,
    ) -> Result<Option<(SessionId, ProjectId)>, ProjectError> {
        let session_id = repeated.session_id;
        let before = match self.hub.snapshot(session_id).await {
            Ok(snapshot) => snapshot.header.project,
            Err(HubError::SessionNotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match before {
            Some(before) if repeated.is_same(&before) => {
                let context = context(command_id, author.clone(), None);
                submit(&self.hub, &self.metrics, session_id, repeated.first.clone(), context).await?;
                Ok(Some((session_id, before.project_id)))
            }
            _ => Err(ProjectError::OtherRequest(session_id)),
        }
    }

    /// Creates a project under its id, or under the next free id: `book`, `book-2`, `book-3`. The actor that creates
    /// sessions decides whether an id is free, so two concurrent requests get different ids.
    async fn create_unique(
        &self,
        project: Project,
        first: Command,
        author: Author,
        chosen: ChosenIds,
        ids_max: usize,
    ) -> Result<(SessionId, ProjectId), ProjectError> {
        let mut taken = None;
        for number in 1..=ids_max {
            let project_id = numbered(&project.project_id, number);
            if self.has_file(&project_id).await? {
                taken.get_or_insert(ProjectError::Exists(project_id));
                continue;
            }
            let new = NewSession {
                project: Some(Project {
                    project_id: project_id.clone(),
                    ..project.clone()
                }),
                first: Some(first.clone()),
                author: author.clone(),
            };
            match self.hub.create_as(chosen, new).await {
                Ok((header, _)) => return Ok((header.session_id, project_id)),
                // The same request is in progress elsewhere. A retry finds the session.
                Err(HubError::SessionExists(_)) => return Err(HubError::OutcomeUnknown.into()),
                Err(error @ HubError::ProjectExists(_)) => {
                    taken.get_or_insert(error.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(taken.unwrap_or(ProjectError::Exists(project.project_id)))
    }

    async fn blueprint(&self, template_id: String) -> Result<Arc<Blueprint>, ProjectError> {
        let loaded = self.blocking(move |service| {
            let loaded = match template_id.parse() {
                Ok(parsed) => service.templates.load(&parsed),
                Err(_) => Err(TemplateLoadError::NotFound),
            };
            loaded.map_err(|error| ProjectError::Template { id: template_id, error })
        });
        loaded.await?
    }
}

/// First session of a request that may be a repetition.
struct Repeated<'a> {
    session_id: SessionId,
    /// True if the request names the project's id.
    is_named: bool,
    project: &'a Project,
    first: &'a Command,
}

impl Repeated<'_> {
    fn is_same(&self, before: &Project) -> bool {
        let wanted = self.project;
        let is_same = (&before.project_name, &before.template_id) == (&wanted.project_name, &wanted.template_id);
        is_same && (!self.is_named || before.project_id == wanted.project_id)
    }
}

/// Derives a project's id from its name, in a form for typing and for file names.
fn derived_id(name: &str) -> Result<ProjectId, ProjectError> {
    let slug: String = slug::slugify(name).chars().take(ProjectId::CHARS_MAX).collect();
    slug.trim_end_matches('-').parse().map_err(|_| ProjectError::NoId)
}

/// Appends a number to an id, from 2 on.
fn numbered(project_id: &ProjectId, number: usize) -> ProjectId {
    if number < 2 {
        return project_id.clone();
    }
    let suffix = format!("-{number}");
    let room = ProjectId::CHARS_MAX.saturating_sub(suffix.len());
    let stem: String = project_id.as_str().chars().take(room).collect();
    let stem = stem.trim_end_matches('-');
    // A prefix of an id followed by a hyphen and digits is a valid id.
    format!("{stem}{suffix}").parse().unwrap_or_else(|_| project_id.clone())
}
