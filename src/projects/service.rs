//! Use cases of projects: creation under a free id, opening, deletion, loads and saves. Each holds for any number of
//! concurrent requests for the same project. The service calls the hub and the stores, and its errors are those of the
//! domain: an edge only extracts, calls, and answers.

mod create;
mod load;
mod open;
mod save;

use std::sync::Arc;

use talus_actors::{
    domain::{
        ids::{CommandId, ProjectId, Seq, SessionId, TemplateId},
        limits::Limits,
        session::SessionHeader,
    },
    hub::{Hub, HubError, SaveLease},
    session_actor::SessionView,
};

pub use self::{
    create::{CreatedProject, NewProject},
    load::{GraphToLoad, LoadedGraph},
    open::OpenedProject,
    save::SavedProject,
};
use super::{
    ImportError, Imported, JsonError, ProjectStore, ReadError, Strictness, WriteError, import, parse_document,
    template_in_force, vocabulary,
};
use crate::{
    config::Config,
    metrics::Metrics,
    permits::{Permit, Permits},
    templates::{TemplateLoadError, TemplateStore},
};

/// Service of the use cases. A clone copies the handles.
#[derive(Clone)]
pub struct ProjectService {
    /// Handle to the sessions.
    pub hub: Hub,
    /// Project files on disk.
    pub store: Arc<ProjectStore>,
    /// Templates on disk and in the binary.
    pub templates: Arc<TemplateStore>,
    /// Permits of documents that one request holds, up to `rest.documents_max`.
    pub documents: Permits,
    /// Limits of the domain.
    pub limits: Arc<Limits>,
    /// Configuration of the hub, for timeouts and the depth of JSON.
    pub config: Arc<Config>,
    /// Metrics of commands.
    pub metrics: Metrics,
}

/// Reason why a use case of projects failed.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The hub refused the request, or failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// No permit of a document became free within `rest.reading_wait_ms`.
    #[error("readers take as much as documents_max allows, which is {max}")]
    DocumentsBusy {
        /// Number of permits.
        max: usize,
    },
    /// The project has neither a session nor a file.
    #[error("project {:?} does not exist", .0.as_str())]
    NotFound(ProjectId),
    /// A file has the project's id.
    #[error("project {0} exists already")]
    Exists(ProjectId),
    /// The project's name has no letter or digit for an id.
    #[error("the project's name has no letter or digit to make an id of")]
    NoId,
    /// The session with the chosen id was created for another request.
    #[error("session {0} was created for another request")]
    OtherRequest(SessionId),
    /// The id of the command was used for a command that saves no file.
    #[error("command {0} did not save the project")]
    OtherCommand(CommandId),
    /// The template cannot be loaded.
    #[error("template {id:?}: {error}")]
    Template {
        /// Text that names the template.
        id: String,
        /// Reason of the failure.
        error: TemplateLoadError,
    },
    /// The project file cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// The project file is not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The document is not a graph within the limits.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The project file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The directory of project files cannot be read or changed.
    #[error(transparent)]
    Files(#[from] std::io::Error),
    /// A bug.
    #[error("{0}")]
    Internal(String),
}

/// Page of the projects that have a session or a file, by id.
#[derive(Debug)]
pub struct ProjectPage {
    /// Projects of the page.
    pub projects: Vec<ListedProject>,
    /// Number of all projects.
    pub total: usize,
}

/// Project as an item of a list.
#[derive(Debug)]
pub struct ListedProject {
    /// Id of the project.
    pub project_id: ProjectId,
    /// Session of the project. `None`: the project has a file and no session.
    pub session: Option<SessionHeader>,
    /// True if the project has a file.
    pub is_saved: bool,
}

/// Content of a project: of its session, or else of its file.
#[derive(Debug)]
pub enum ProjectContent {
    /// State of the project's session.
    Session(SessionId, SessionView),
    /// Content of the project's file, with the permit of the document.
    File(ReadProject, Permit),
}

/// Imported project file.
#[derive(Debug)]
pub struct ReadProject {
    /// Content of the file.
    pub imported: Imported,
    /// Template that the file names.
    pub template_id: Option<TemplateId>,
}

impl ProjectService {
    /// Returns a page of the projects that have a session or a file.
    ///
    /// # Errors
    /// Returns an error if the directory of project files cannot be read.
    pub async fn list(&self, offset: usize, limit: usize) -> Result<ProjectPage, ProjectError> {
        let saved = self.blocking(|service| service.store.list()).await??;
        let open = self.hub.projects().await?;
        let mut ids: Vec<ProjectId> = saved.iter().cloned().chain(open.keys().cloned()).collect();
        ids.sort_unstable();
        ids.dedup();
        let total = ids.len();
        let page = ids.into_iter().skip(offset).take(limit);
        let projects = page.map(|project_id| ListedProject {
            session: open.get(&project_id).cloned(),
            is_saved: saved.binary_search(&project_id).is_ok(),
            project_id,
        });
        Ok(ProjectPage {
            projects: projects.collect(),
            total,
        })
    }

    /// Returns the state of the project's session, or else the content of its file.
    ///
    /// # Errors
    /// Returns an error if the project does not exist, or if its file cannot be imported.
    pub async fn read(&self, project_id: &ProjectId) -> Result<ProjectContent, ProjectError> {
        if let Some(session_id) = self.hub.session_of_project(project_id).await? {
            let snapshot = self.await_first_command(session_id).await?;
            return Ok(ProjectContent::Session(session_id, snapshot));
        }
        let (file, permit) = self.read_file(project_id).await?;
        Ok(ProjectContent::File(file, permit))
    }

    /// Deletes a project: the file, then the session. In this order a client that opens the project meanwhile either
    /// has a session that is deleted too, or finds no file.
    ///
    /// # Errors
    /// Returns an error if the project does not exist, or if its file or its session cannot be removed.
    pub async fn delete(&self, project_id: &ProjectId) -> Result<(), ProjectError> {
        let mut existed = false;
        loop {
            let session = self.hub.session_of_project(project_id).await?;
            let _lease = match session {
                Some(session_id) => self.lease_to_delete(session_id).await?,
                None => None,
            };
            let file = project_id.clone();
            existed |= self.blocking(move |service| service.store.remove(&file)).await??;
            let Some(session_id) = session else { break };
            existed = true;
            match self.hub.delete(session_id).await {
                Ok(()) => break,
                // Another request has deleted the session, and a third request may have opened the project again since.
                Err(HubError::SessionNotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if existed {
            Ok(())
        } else {
            Err(ProjectError::NotFound(project_id.clone()))
        }
    }

    /// Blocks a save under way from writing the file again after its removal. A session that is quarantined saves no
    /// file, so it needs no lease.
    async fn lease_to_delete(&self, session_id: SessionId) -> Result<Option<SaveLease>, ProjectError> {
        match self.hub.begin_save(session_id).await {
            Ok(lease) => Ok(Some(lease)),
            Err(HubError::SessionNotFound(_) | HubError::Quarantined { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a file under a document permit, since the document is held for this reader only.
    async fn read_file(&self, project_id: &ProjectId) -> Result<(ReadProject, Permit), ProjectError> {
        let permit = self.document_permit().await?;
        let project_id = project_id.clone();
        let file = self
            .blocking(move |service| service.read_file_now(&project_id))
            .await??;
        Ok((file, permit))
    }

    fn read_file_now(&self, project_id: &ProjectId) -> Result<ReadProject, ProjectError> {
        let bytes = self.store.read(project_id).map_err(|error| match error {
            ReadError::NotFound => ProjectError::NotFound(project_id.clone()),
            error => ProjectError::Read(error),
        })?;
        let document = parse_document(&bytes, self.config.limits.json_depth_max)?;
        let template_id = template_in_force(&document)?;
        // A file whose template is missing is opened without a template, and loses no data.
        let blueprint = template_id.as_ref().and_then(|id| self.templates.load(id).ok());
        let vocabulary = vocabulary(blueprint.as_deref());
        Ok(ReadProject {
            imported: import(document, vocabulary, &self.limits, Strictness::File)?,
            template_id,
        })
    }

    async fn has_file(&self, project_id: &ProjectId) -> Result<bool, ProjectError> {
        let project_id = project_id.clone();
        self.blocking(move |service| service.store.exists(&project_id)).await
    }

    /// Waits for the first command of a project's session. The session exists once its id is taken, and has no graph
    /// before its first command.
    async fn await_first_command(&self, session_id: SessionId) -> Result<SessionView, HubError> {
        let wait = self.config.server.request_timeout();
        self.hub.snapshot_at_least(session_id, Seq(1), wait).await
    }

    async fn document_permit(&self) -> Result<Permit, ProjectError> {
        let wait = self.config.rest.reading_wait();
        let permit = tokio::time::timeout(wait, self.documents.acquire_many(1)).await;
        permit.map_err(|_| ProjectError::DocumentsBusy {
            max: self.documents.max(),
        })
    }

    /// Runs blocking work, such as reading a file, on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, ProjectError> {
        let service = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&service)).await;
        done.map_err(internal)
    }
}

/// Converts the failure of a task, which is a panic.
#[expect(clippy::needless_pass_by_value, reason = "the argument of map_err")]
fn internal(failure: tokio::task::JoinError) -> ProjectError {
    ProjectError::Internal(failure.to_string())
}
