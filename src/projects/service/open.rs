//! Opening of projects: one session for all clients that open the project.

use std::sync::Arc;

use talus_actors::{
    domain::{
        command::{Author, Command},
        ids::{CommandId, ProjectId, SessionId},
        session::Project,
    },
    hub::{ChosenIds, HubError, NewSession},
    session_actor::SessionView,
};

use super::{ProjectError, ProjectService, ReadProject};
use crate::projects::Orphan;

/// Project that has been opened.
#[derive(Debug)]
pub struct OpenedProject {
    /// Session of the project.
    pub session_id: SessionId,
    /// State of the session.
    pub snapshot: SessionView,
    /// Nodes and properties of the file that the template does not know.
    pub orphans: Vec<Orphan>,
    /// True if the project had a session before.
    pub already_open: bool,
}

impl ProjectService {
    /// Opens a project. A project has one session for all clients that open the project.
    ///
    /// # Errors
    /// Returns an error if the project does not exist, or if its file cannot be imported.
    pub async fn open(
        &self,
        project_id: &ProjectId,
        author: Author,
        command_id: Option<CommandId>,
    ) -> Result<OpenedProject, ProjectError> {
        let (session_id, orphans, already_open) = match self.hub.session_of_project(project_id).await? {
            Some(session_id) => (session_id, Vec::new(), true),
            None => self.open_file(project_id, author, command_id).await?,
        };
        Ok(OpenedProject {
            session_id,
            snapshot: self.await_first_command(session_id).await?,
            orphans,
            already_open,
        })
    }

    async fn open_file(
        &self,
        project_id: &ProjectId,
        author: Author,
        command_id: Option<CommandId>,
    ) -> Result<(SessionId, Vec<Orphan>, bool), ProjectError> {
        let (ReadProject { imported, template_id }, _permit) = self.read_file(project_id).await?;
        let project_name = imported
            .project_name
            .clone()
            .unwrap_or_else(|| project_id.as_str().into());
        let project = Project {
            project_id: project_id.clone(),
            project_name,
            template_id,
        };
        let first = Command::LoadGraph {
            graph: imported.graph,
            extras: Some(Arc::new(imported.extras)),
            from_file: true,
            template_id: None,
        };
        let new = NewSession {
            project: Some(project),
            first: Some(first),
            author,
        };
        let chosen = ChosenIds {
            session_id: None,
            command_id,
        };
        match self.hub.create_as(chosen, new).await {
            Ok((header, _)) => {
                if self.has_file(project_id).await? {
                    return Ok((header.session_id, imported.orphans, false));
                }
                // Another request deleted the project while its file was being read.
                let _ = self.hub.delete(header.session_id).await;
                Err(ProjectError::NotFound(project_id.clone()))
            }
            // Another request opened the project since the lookup.
            Err(HubError::ProjectExists(session_id)) => Ok((session_id, Vec::new(), true)),
            Err(error) => Err(error.into()),
        }
    }
}
