//! Loads of graphs into sessions.

use serde_json::Value;
use talus_actors::{
    domain::{
        command::{Author, Command},
        ids::{CommandId, SessionId, TemplateId},
    },
    session_actor::{SessionView, Submitted},
};

use super::{ProjectError, ProjectService};
use crate::{
    command_instrumentation::{context, submit},
    projects::{Imported, Orphan, Strictness, import, template_in_force, vocabulary},
};

/// Request to load a graph into a session.
#[derive(Debug)]
pub struct GraphToLoad {
    /// Graph in any format of projects.
    pub graph: Value,
    /// Template that the request names. `None`: the session's template stays.
    pub template_id: Option<TemplateId>,
    /// Id of the command. `None`: generated.
    pub command_id: Option<CommandId>,
}

/// Graph that has been loaded.
#[derive(Debug)]
pub struct LoadedGraph {
    /// Outcome of the command.
    pub submitted: Submitted,
    /// Nodes and properties that the template does not know. They are kept.
    pub orphans: Vec<Orphan>,
    /// True if the graph's template is missing. The session then allows all types and properties.
    pub template_missing: bool,
}

impl ProjectService {
    /// Loads a graph into a session. `parse` reads the graph from the request. It runs on a blocking thread, after the
    /// session has been found and under the permit of a document.
    ///
    /// # Errors
    /// Returns the error of `parse`, or an error if the graph cannot be imported or the command is refused.
    pub async fn load_graph<E>(
        &self,
        session_id: SessionId,
        author: Author,
        parse: impl FnOnce() -> Result<GraphToLoad, E> + Send + 'static,
    ) -> Result<LoadedGraph, E>
    where
        E: From<ProjectError> + Send + 'static,
    {
        let snapshot = self.hub.snapshot(session_id).await.map_err(ProjectError::from)?;
        let _permit = self.document_permit().await?;
        let imported = self.blocking(move |service| service.import_graph(parse()?, &snapshot).map_err(E::from));
        let GraphToSubmit {
            imported,
            template_id,
            template_missing,
            command_id,
        } = imported.await??;
        let command = Command::LoadGraph {
            graph: imported.graph,
            extras: None,
            from_file: false,
            template_id,
        };
        let context = context(command_id, author, None);
        let submitted = submit(&self.hub, &self.metrics, session_id, command, context).await;
        Ok(LoadedGraph {
            submitted: submitted.map_err(ProjectError::from)?,
            orphans: imported.orphans,
            template_missing,
        })
    }

    fn import_graph(&self, request: GraphToLoad, session: &SessionView) -> Result<GraphToSubmit, ProjectError> {
        let GraphToLoad {
            graph,
            template_id,
            command_id,
        } = request;
        let template_id = match template_id {
            Some(template_id) => Some(template_id),
            None => template_in_force(&graph)?,
        };
        // A session that uses the template already keeps the loaded version until its next start, whatever happened to
        // the file.
        let known = session.blueprint.clone();
        let known = known.filter(|known| template_id.as_ref().is_none_or(|id| id == known.id()));
        let wanted = template_id.as_ref().or(session.template_id());
        let blueprint = known.or_else(|| self.templates.load(wanted?).ok());
        let vocabulary = vocabulary(blueprint.as_deref());
        Ok(GraphToSubmit {
            imported: import(graph, vocabulary, &self.limits, Strictness::Request)?,
            template_missing: wanted.is_some() && blueprint.is_none(),
            template_id,
            command_id,
        })
    }
}

/// Imported graph with the details of its command.
struct GraphToSubmit {
    imported: Imported,
    template_id: Option<TemplateId>,
    template_missing: bool,
    command_id: Option<CommandId>,
}
