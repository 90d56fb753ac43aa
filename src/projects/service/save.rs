//! Saves of projects to their files.

use std::sync::Arc;

use talus_actors::{
    domain::{
        command::{Author, Command},
        event::Event,
        ids::{CommandId, ProjectId, Seq, SessionId},
    },
    session_actor::SessionView,
};

use super::{ProjectError, ProjectService, internal};
use crate::{
    command_instrumentation::{context, submit},
    projects::{ProjectDocument, WriteError, project_file, vocabulary},
};

/// Project that has been saved.
#[derive(Debug)]
pub struct SavedProject {
    /// Name of the file.
    pub file: Arc<str>,
    /// Sequence number of the save.
    pub seq: Seq,
    /// True if an earlier attempt of the same save wrote the file.
    pub is_duplicate: bool,
}

impl ProjectService {
    /// Writes the session's project to its file, and records the save in the log. A caller that is dropped stops neither
    /// the write nor the record.
    ///
    /// # Errors
    /// Returns an error if the session does not exist, if the file cannot be written, or if the command is refused.
    pub async fn save(
        &self,
        session_id: SessionId,
        author: Author,
        command_id: Option<CommandId>,
    ) -> Result<SavedProject, ProjectError> {
        let service = self.clone();
        let saving = tokio::spawn(async move { service.save_now(session_id, author, command_id).await });
        saving.await.map_err(internal)?
    }

    async fn save_now(
        &self,
        session_id: SessionId,
        author: Author,
        command_id: Option<CommandId>,
    ) -> Result<SavedProject, ProjectError> {
        let lease = self.hub.begin_save(session_id).await?;
        // Each save writes another state, so an earlier attempt of the same save is recognised by its command id only.
        if let Some(id) = command_id
            && let Some(recorded) = self.hub.recorded(session_id, id).await?
        {
            let Some(Event::ProjectSaved { file, .. }) = recorded.events.first() else {
                return Err(ProjectError::OtherCommand(id));
            };
            return Ok(SavedProject {
                file: file.clone(),
                seq: recorded.seq(),
                is_duplicate: true,
            });
        }
        let snapshot = lease.snapshot.clone();
        let permit = self.document_permit().await?;
        let file = self.blocking(move |service| service.write(&snapshot)).await?;
        drop(permit);
        let file: Arc<str> = file?.into();
        let command = Command::SaveProject {
            file: file.clone(),
            through: lease.snapshot.seq,
        };
        let context = context(command_id, author, None);
        let submitted = submit(&self.hub, &self.metrics, session_id, command, context).await?;
        drop(lease);
        Ok(SavedProject {
            file,
            seq: submitted.receipt.seq,
            is_duplicate: false,
        })
    }

    /// Writes a project's file. A session without a project is written under its session id.
    fn write(&self, snapshot: &SessionView) -> Result<String, WriteError> {
        let header = &snapshot.header;
        let project = header.project.as_ref();
        let own_name = || header.session_id.to_string().parse();
        let project_id: ProjectId = project
            .map_or_else(own_name, |project| Ok(project.project_id.clone()))
            .map_err(std::io::Error::other)?;
        let bytes = project_file(&ProjectDocument {
            session_id: header.session_id,
            epoch: header.epoch,
            seq: snapshot.seq,
            project_id: &project_id,
            project_name: project.map(|project| &*project.project_name),
            template_id: snapshot.template_id(),
            extras: &snapshot.document.extras,
            graph: &snapshot.document.graph,
            vocabulary: vocabulary(snapshot.blueprint.as_deref()),
        });
        self.store.write(&project_id, &bytes)
    }
}
