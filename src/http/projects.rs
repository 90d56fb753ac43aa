//! Projects: sessions with a name, a template and a file.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use ecow::EcoString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use talus_actors::{
    domain::{
        blueprint::Blueprint,
        command::{Command, CreateNode, Origin},
        event::Event,
        ids::{CommandId, Epoch, IdError, ProjectId, Seq, SessionId, TemplateId},
        limits::{NameError, check_name},
        rejection::Rejection,
        session::Project,
    },
    hub::{Chosen, HubError, NewSession, SaveLease},
    session_actor::Snapshot,
};

use super::{
    commands::submit,
    idempotency::{IdempotencyKey, reused},
    sessions::{created, session_location},
    templates,
};
use crate::{
    command_instrumentation::context,
    http_kit::{
        ApiResult, AppState,
        body::{GraphBytes, JsonText, NoFields, Params, PathText, RequestOrigin, SessionPath, page_items},
        reading::{WaitPolicy, with_graph},
    },
    permits::Permit,
    projects::{self, Imported, JsonError, ReadError, Strictness, WriteError},
    wire::{
        ErrorCode,
        answer::CommandAnswer,
        error::{ApiError, internal},
        request::{id, read, required},
    },
};

#[derive(Deserialize)]
struct CreateRequest {
    template_id: Option<String>,
    project_name: Option<String>,
    project_id: Option<String>,
}

#[derive(Serialize)]
pub(super) struct CreateAnswer {
    session_id: SessionId,
    project_id: ProjectId,
    epoch: Epoch,
    seq: Seq,
}

/// `POST /projects`
pub(super) async fn create(
    State(state): State<AppState>,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    JsonText(text): JsonText,
) -> ApiResult<Response> {
    let request: CreateRequest = read("", &text)?;
    let template_id = required("", "template_id", request.template_id)?;
    let project_name = required("", "project_name", request.project_name)?;
    check_name(&project_name, &state.limits).map_err(|fault| name_failure(&fault))?;
    let named = request.project_id.is_some();
    let (wanted, ids_max) = match request.project_id {
        Some(text) => (id("", "project_id", &text)?, 1),
        None => (slug(&project_name)?, PROJECT_IDS_TRIED_MAX),
    };
    let blueprint = blueprint(&state, &template_id).await?;
    let root = CreateNode {
        node_type: blueprint.root_type().id.as_str().into(),
        name: Some(project_name.as_str().into()),
        parent_id: None,
        index: None,
        properties: std::collections::BTreeMap::new(),
        node_id: None,
    };
    let project = Project {
        project_id: wanted,
        project_name: project_name.into(),
        template_id: Some(blueprint.id().clone()),
    };
    let chosen = Chosen {
        session_id: key.session_id(&origin),
        command_id: key.command_id(None)?,
    };
    let new = NewSession {
        project: Some(project),
        first: Some(Command::CreateProject { root }),
        origin,
    };
    let repeated = match chosen.session_id {
        Some(session_id) => find_repeated(&state, session_id, named, chosen, &new).await?,
        None => None,
    };
    let (session_id, project_id) = match repeated {
        Some(before) => before,
        None => create_unique(&state, new, chosen, ids_max).await?,
    };
    let snapshot = await_first_command(&state, session_id).await?;
    let location = super::api(&format!("/projects/{project_id}"));
    let head = CreateAnswer {
        session_id,
        project_id,
        epoch: snapshot.header.epoch,
        seq: snapshot.seq,
    };
    let answer = with_graph(&state.reading, &head, snapshot.document.graph, None).await?;
    Ok(created(location, answer))
}

/// Returns the session that an earlier attempt of the same request created, if there is one. A hub that failed during
/// the first attempt may have left the session without its first command, so the command is submitted again under its
/// id.
async fn find_repeated(
    state: &AppState,
    session_id: SessionId,
    named: bool,
    chosen: Chosen,
    new: &NewSession,
) -> Result<Option<(SessionId, ProjectId)>, ApiError> {
    let before = match state.hub.snapshot(session_id).await {
        Ok(snapshot) => snapshot.header.project,
        Err(HubError::SessionNotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let is_same = |before: &Project, wanted: &Project| {
        let same = (&before.project_name, &before.template_id) == (&wanted.project_name, &wanted.template_id);
        same && (!named || before.project_id == wanted.project_id)
    };
    match (before, &new.project, &new.first) {
        (Some(before), Some(wanted), Some(first)) if is_same(&before, wanted) => {
            let context = context(chosen.command_id, new.origin.clone(), None);
            submit(state, session_id, first.clone(), context).await?;
            Ok(Some((session_id, before.project_id)))
        }
        _ => Err(reused(session_id)),
    }
}

/// Maximum number of ids that are tried for a project whose id is taken.
const PROJECT_IDS_TRIED_MAX: usize = 1_000;

/// Creates a project under its id, or under the next free id: `book`, `book-2`, `book-3`. The actor that creates
/// sessions decides whether an id is free, so two concurrent requests get different ids.
async fn create_unique(
    state: &AppState,
    new: NewSession,
    chosen: Chosen,
    ids_max: usize,
) -> Result<(SessionId, ProjectId), ApiError> {
    let NewSession {
        project: Some(project),
        first,
        origin,
    } = new
    else {
        return Err(internal(&"a project is begun without one"));
    };
    let mut taken = None;
    for number in 1..=ids_max {
        let project_id = numbered(&project.project_id, number);
        let file = project_id.clone();
        if state.blocking(move |state| state.projects.exists(&file)).await? {
            taken.get_or_insert_with(|| project_exists(&project_id));
            continue;
        }
        let project = Project {
            project_id: project_id.clone(),
            ..project.clone()
        };
        let new = NewSession {
            project: Some(project),
            first: first.clone(),
            origin: origin.clone(),
        };
        match state.hub.create_as(chosen, new).await {
            Ok((header, _)) => return Ok((header.session_id, project_id)),
            // The same request is in progress elsewhere. A retry finds the session.
            Err(HubError::SessionExists(_)) => return Err(HubError::OutcomeUnknown.into()),
            Err(error @ HubError::ProjectExists(_)) => {
                taken.get_or_insert_with(|| error.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(taken.unwrap_or_else(|| project_exists(&project.project_id)))
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

/// Waits for the first command of a project's session. The session exists once its id is taken, and has no graph before
/// its first command.
async fn await_first_command(state: &AppState, session_id: SessionId) -> Result<Snapshot, HubError> {
    let wait = state.config.server.request_timeout();
    state.hub.snapshot_at_least(session_id, Seq(1), wait).await
}

fn name_failure(fault: &NameError) -> ApiError {
    let failure = |code| ApiError::new(code, format!("project_name: {fault}")).with("field", "project_name");
    match fault {
        NameError::Blank | NameError::Control => failure(ErrorCode::InvalidValue),
        NameError::TooLong(exceeded) => failure(ErrorCode::LimitExceeded)
            .with("limit", exceeded.limit)
            .with("max", exceeded.max),
    }
}

async fn blueprint(state: &AppState, template_id: &str) -> Result<Arc<Blueprint>, ApiError> {
    let not_found = || {
        ApiError::new(
            ErrorCode::TemplateNotFound,
            format!("template {template_id:?} does not exist"),
        )
    };
    let id: TemplateId = template_id.parse().map_err(|_| not_found())?;
    state
        .blocking(move |state| {
            state
                .templates
                .load(&id)
                .map_err(|error| templates::failure(&id, error))
        })
        .await?
}

/// Derives a project's id from its name, in a form for typing and for file names.
fn slug(name: &str) -> Result<ProjectId, ApiError> {
    let slug: String = slug::slugify(name).chars().take(ProjectId::CHARS_MAX).collect();
    slug.trim_end_matches('-').parse().map_err(|_| {
        ApiError::invalid_field(
            "project_id",
            "is required: the project's name has no letter or digit to make one of",
        )
    })
}

fn project_exists(project_id: &ProjectId) -> ApiError {
    ApiError::new(ErrorCode::ProjectExists, format!("project {project_id} exists already"))
        .with("project_id", project_id)
}

fn project_not_found(project_id: &str) -> ApiError {
    ApiError::new(
        ErrorCode::ProjectNotFound,
        format!("project {project_id:?} does not exist"),
    )
}

fn parse_project_id(text: &str) -> Result<ProjectId, ApiError> {
    text.parse().map_err(|_: IdError| project_not_found(text))
}

#[derive(Deserialize)]
pub(super) struct ListParams {
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct ListedProject {
    project_id: ProjectId,
    /// `None`: the project has a file and no session.
    session_id: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_name: Option<EcoString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<TemplateId>,
    is_saved: bool,
}

#[derive(Serialize)]
pub(super) struct ProjectList {
    projects: Vec<ListedProject>,
    total: usize,
}

/// `GET /projects`: projects with a session or a file, by id.
pub(super) async fn list(
    State(state): State<AppState>,
    Params(params): Params<ListParams>,
) -> ApiResult<Json<ProjectList>> {
    let limit = page_items(&state, params.limit)?;
    let saved = state
        .blocking(|state| state.projects.list())
        .await?
        .map_err(|error| internal(&error))?;
    let open = state.hub.projects().await?;
    let mut ids: Vec<ProjectId> = saved.iter().cloned().chain(open.keys().cloned()).collect();
    ids.sort_unstable();
    ids.dedup();
    let total = ids.len();
    let page = ids.into_iter().skip(params.offset.unwrap_or_default()).take(limit);
    let projects = page.map(|project_id| {
        let session = open.get(&project_id);
        let project = session.and_then(|header| header.project.as_ref());
        ListedProject {
            session_id: session.map(|header| header.session_id),
            project_name: project.map(|project| project.project_name.clone()),
            template_id: project.and_then(|project| project.template_id.clone()),
            is_saved: saved.binary_search(&project_id).is_ok(),
            project_id,
        }
    });
    Ok(Json(ProjectList {
        projects: projects.collect(),
        total,
    }))
}

#[derive(Serialize)]
pub(super) struct ProjectAnswer {
    project_id: ProjectId,
    project_name: Option<EcoString>,
    template_id: Option<TemplateId>,
    session_id: Option<SessionId>,
}

/// `GET /projects/{id}`: the state of the project's session, or else of its file.
pub(super) async fn show(State(state): State<AppState>, PathText(text): PathText) -> ApiResult<Response> {
    let project_id = parse_project_id(&text)?;
    if let Some(session_id) = state.hub.session_of_project(&project_id).await? {
        let snapshot = await_first_command(&state, session_id).await?;
        let project = snapshot.header.project.as_ref();
        let head = ProjectAnswer {
            project_id,
            project_name: project.map(|project| project.project_name.clone()),
            template_id: snapshot.template_id().cloned(),
            session_id: Some(session_id),
        };
        return Ok(with_graph(&state.reading, &head, snapshot.document.graph, None).await?);
    }
    let (file, permit) = File::read(&state, &project_id).await?;
    let head = ProjectAnswer {
        project_id,
        project_name: file.imported.project_name.clone(),
        template_id: file.template_id,
        session_id: None,
    };
    Ok(with_graph(&state.reading, &head, file.imported.graph, Some(permit)).await?)
}

/// `DELETE /projects/{id}`: removes the file, then the session. In this order a client that opens the project meanwhile
/// either has a session that is deleted too, or finds no file.
pub(super) async fn delete(State(state): State<AppState>, PathText(text): PathText) -> ApiResult<StatusCode> {
    let project_id = parse_project_id(&text)?;
    let mut existed = false;
    loop {
        let session = state.hub.session_of_project(&project_id).await?;
        let _lease = match session {
            Some(session_id) => lease_to_delete(&state, session_id).await?,
            None => None,
        };
        let file = project_id.clone();
        let removed = state.blocking(move |state| state.projects.remove(&file)).await?;
        existed |= removed.map_err(|error| internal(&error))?;
        let Some(session_id) = session else { break };
        existed = true;
        match state.hub.delete(session_id).await {
            Ok(()) => break,
            // Another request has deleted the session, and a third request may have opened the project again since.
            Err(HubError::SessionNotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if existed {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(project_not_found(&text).into())
    }
}

/// Blocks a save under way from writing the file again after its removal. A session that is quarantined saves no file,
/// so it needs no lease.
async fn lease_to_delete(state: &AppState, session_id: SessionId) -> Result<Option<SaveLease>, ApiError> {
    match state.hub.begin_save(session_id).await {
        Ok(lease) => Ok(Some(lease)),
        Err(HubError::SessionNotFound(_) | HubError::Quarantined { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Imported content of a project file.
struct File {
    imported: Imported,
    template_id: Option<TemplateId>,
}

impl File {
    /// Reads a file under a document permit, since the document is held for this reader only.
    async fn read(state: &AppState, project_id: &ProjectId) -> Result<(Self, Permit), ApiError> {
        let permit = state.reading.document(WaitPolicy::Bounded).await?;
        let project_id = project_id.clone();
        let file = state
            .blocking(move |state| Self::read_now(state, &project_id))
            .await??;
        Ok((file, permit))
    }

    fn read_now(state: &AppState, project_id: &ProjectId) -> Result<Self, ApiError> {
        let bytes = state.projects.read(project_id).map_err(|error| match error {
            ReadError::NotFound => project_not_found(project_id.as_str()),
            ReadError::TooLarge { max } => file_too_large(&error, max),
            ReadError::Io(error) => internal(&error),
        })?;
        let document = projects::parse_document(&bytes, state.config.limits.json_depth_max).map_err(|error| {
            json_failure(&error, |message| {
                ApiError::new(ErrorCode::InvalidGraph, message).with("path", "")
            })
        })?;
        let template_id = projects::template_in_force(&document).map_err(|error| graph_failure(&error))?;
        // A file whose template is missing is opened without a template, and loses no data.
        let blueprint = template_id.as_ref().and_then(|id| state.templates.load(id).ok());
        let vocabulary = projects::vocabulary(blueprint.as_deref());
        let imported = projects::import(document, vocabulary, &state.limits, Strictness::File);
        Ok(Self {
            imported: imported.map_err(|error| graph_failure(&error))?,
            template_id,
        })
    }
}

fn file_too_large(error: &impl std::fmt::Display, max: usize) -> ApiError {
    ApiError::new(ErrorCode::LimitExceeded, error.to_string())
        .with("limit", "file_bytes_max")
        .with("max", max)
}

/// Converts a parse error. `malformed` builds the error for a text that is not JSON.
fn json_failure(error: &JsonError, malformed: impl FnOnce(String) -> ApiError) -> ApiError {
    match error {
        JsonError::TooDeep { max } => ApiError::new(ErrorCode::LimitExceeded, error.to_string())
            .with("limit", "json_depth_max")
            .with("max", max),
        JsonError::Malformed(_) => malformed(error.to_string()),
    }
}

fn graph_failure(error: &projects::ImportError) -> ApiError {
    match error {
        projects::ImportError::Invalid { path, .. } => {
            ApiError::new(ErrorCode::InvalidGraph, error.to_string()).with("path", path)
        }
        projects::ImportError::Limit { path, exceeded } => ApiError::new(ErrorCode::LimitExceeded, error.to_string())
            .with("limit", exceeded.limit)
            .with("max", exceeded.max)
            .with("path", path),
    }
}

#[derive(Serialize)]
pub(super) struct OpenAnswer {
    session_id: SessionId,
    project_id: ProjectId,
    epoch: Epoch,
    seq: Seq,
    /// Nodes and properties that the template does not know. They are kept.
    orphans: Vec<Value>,
    /// True if the project already had a session, which the answer names.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already_open: bool,
    /// True if the template named by the file is missing. The session then allows all types and properties.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    template_missing: bool,
}

fn orphans(imported: &Imported) -> Vec<Value> {
    let each = imported.orphans.iter().map(|orphan| {
        json!({
            "node_id": orphan.node_id, "unknown_type": orphan.unknown_type, "properties": orphan.properties,
        })
    });
    each.collect()
}

/// `POST /projects/{id}/open`: a project has one session for all clients that open the project.
pub(super) async fn open(
    State(state): State<AppState>,
    PathText(text): PathText,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    NoFields: NoFields,
) -> ApiResult<Response> {
    let project_id = parse_project_id(&text)?;
    let (session_id, orphans, already_open) = match state.hub.session_of_project(&project_id).await? {
        Some(session_id) => (session_id, Vec::new(), true),
        None => open_file(&state, &project_id, origin, key.command_id(None)?).await?,
    };
    let snapshot = await_first_command(&state, session_id).await?;
    let template_missing = snapshot.template_id().is_some() && snapshot.blueprint.is_none();
    let answer = OpenAnswer {
        session_id,
        project_id,
        epoch: snapshot.header.epoch,
        seq: snapshot.seq,
        template_missing,
        orphans,
        already_open,
    };
    let answer = with_graph(&state.reading, &answer, snapshot.document.graph, None).await?;
    if already_open {
        return Ok(answer);
    }
    Ok(created(session_location(session_id), answer))
}

async fn open_file(
    state: &AppState,
    project_id: &ProjectId,
    origin: Origin,
    command_id: Option<CommandId>,
) -> ApiResult<(SessionId, Vec<Value>, bool)> {
    let (File { imported, template_id }, _permit) = File::read(state, project_id).await?;
    let orphans = orphans(&imported);
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
        origin,
    };
    let chosen = Chosen {
        session_id: None,
        command_id,
    };
    match state.hub.create_as(chosen, new).await {
        Ok((header, _)) => {
            let file = project_id.clone();
            if state.blocking(move |state| state.projects.exists(&file)).await? {
                return Ok((header.session_id, orphans, false));
            }
            // Another request deleted the project while its file was being read.
            let _ = state.hub.delete(header.session_id).await;
            Err(project_not_found(project_id.as_str()).into())
        }
        // Another request opened the project since the lookup.
        Err(HubError::ProjectExists(session_id)) => Ok((session_id, Vec::new(), true)),
        Err(error) => Err(error.into()),
    }
}

#[derive(Serialize)]
pub(super) struct LoadAnswer {
    #[serde(flatten)]
    answer: CommandAnswer,
    orphans: Vec<Value>,
    /// True if the graph's template is missing. The session then allows all types and properties.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    template_missing: bool,
}

/// `POST /sessions/{id}/load-graph`
pub(super) async fn load_graph(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    GraphBytes(bytes): GraphBytes,
) -> ApiResult<Json<LoadAnswer>> {
    let snapshot = state.hub.snapshot(session_id).await?;
    let _permit = state.reading.document(WaitPolicy::Bounded).await?;
    let read = move |state: &AppState| read_graph(state, &bytes, &snapshot);
    let GraphRequest {
        command_id,
        imported,
        template_id,
        template_missing,
    } = state.blocking(read).await??;
    let orphans = orphans(&imported);
    let command = Command::LoadGraph {
        graph: imported.graph,
        extras: None,
        from_file: false,
        template_id,
    };
    let answer = submit(
        &state,
        session_id,
        command,
        context(key.command_id(command_id)?, origin, None),
    )
    .await?;
    Ok(Json(LoadAnswer {
        answer,
        orphans,
        template_missing,
    }))
}

/// Parsed request to load a graph.
struct GraphRequest {
    command_id: Option<CommandId>,
    imported: Imported,
    /// Template named by the request. `None`: the session's template stays.
    template_id: Option<TemplateId>,
    template_missing: bool,
}

fn read_graph(state: &AppState, bytes: &[u8], session: &Snapshot) -> Result<GraphRequest, ApiError> {
    let body = projects::parse_document(bytes, state.config.limits.json_depth_max)
        .map_err(|error| json_failure(&error, |message| ApiError::new(ErrorCode::InvalidRequest, message)))?;
    let Value::Object(mut body) = body else {
        return Err(ApiError::invalid_field("body", "must be an object"));
    };
    let command_id = match body.remove("command_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(id("", "command_id", &text)?),
        Some(_) => return Err(ApiError::invalid_field("command_id", "must be a string")),
    };
    let graph = required("", "graph", body.remove("graph"))?;
    let template_id = match body.remove("template_id") {
        None | Some(Value::Null) => projects::template_in_force(&graph).map_err(|error| graph_failure(&error))?,
        Some(Value::String(text)) => Some(id("", "template_id", &text)?),
        Some(_) => return Err(ApiError::invalid_field("template_id", "must be a string")),
    };
    // A session that uses the template already keeps the loaded version until its next start, whatever happened to the
    // file.
    let known = session.blueprint.clone();
    let known = known.filter(|known| template_id.as_ref().is_none_or(|id| id == known.id()));
    let wanted = template_id.as_ref().or(session.template_id());
    let blueprint = known.or_else(|| state.templates.load(wanted?).ok());
    let vocabulary = projects::vocabulary(blueprint.as_deref());
    let imported = projects::import(graph, vocabulary, &state.limits, Strictness::Request);
    Ok(GraphRequest {
        command_id,
        imported: imported.map_err(|error| graph_failure(&error))?,
        template_missing: wanted.is_some() && blueprint.is_none(),
        template_id,
    })
}

/// `POST /sessions/{id}/save`
pub(super) async fn save(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    NoFields: NoFields,
) -> ApiResult<Json<Value>> {
    // A spawned task: a client that disconnects stops neither the write nor the record of the save.
    let saving = tokio::spawn(save_now(state, session_id, origin, key.command_id(None)?));
    let answer = saving.await.map_err(|failure| internal(&failure))??;
    Ok(Json(answer))
}

async fn save_now(
    state: AppState,
    session_id: SessionId,
    origin: Origin,
    command_id: Option<CommandId>,
) -> Result<Value, ApiError> {
    let lease = state.hub.begin_save(session_id).await?;
    // Each save writes another state, so an earlier attempt of the same save is recognised by its command id only.
    if let Some(id) = command_id
        && let Some(recorded) = state.hub.recorded(session_id, id).await?
    {
        let Some(Event::ProjectSaved { file, .. }) = recorded.events.first() else {
            return Err(ApiError::from(&Rejection::CommandIdReused(id)));
        };
        return Ok(json!({ "success": true, "path": file, "seq": recorded.seq(), "duplicate": true }));
    }
    let snapshot = lease.snapshot.clone();
    let permit = state.reading.document(WaitPolicy::Bounded).await?;
    let written = state.blocking(move |state| write(state, &snapshot)).await?;
    drop(permit);
    let file = written.map_err(|error| match error {
        WriteError::TooLarge { max } => file_too_large(&error, max),
        WriteError::Io(_) => internal(&error),
    })?;
    let through = lease.snapshot.seq;
    let command = Command::SaveProject {
        file: file.as_str().into(),
        through,
    };
    let answer = submit(&state, session_id, command, context(command_id, origin, None)).await?;
    drop(lease);
    Ok(json!({ "success": true, "path": file, "seq": answer.seq() }))
}

/// Writes a project's file. A session without a project is written under its session id.
fn write(state: &AppState, snapshot: &Snapshot) -> Result<String, WriteError> {
    let header = &snapshot.header;
    let project = header.project.as_ref();
    let own_name = || header.session_id.to_string().parse();
    let project_id: ProjectId = project
        .map_or_else(own_name, |project| Ok(project.project_id.clone()))
        .map_err(std::io::Error::other)?;
    let bytes = projects::project_file(&projects::ProjectDocument {
        session_id: header.session_id,
        epoch: header.epoch,
        seq: snapshot.seq,
        project_id: &project_id,
        project_name: project.map(|project| &*project.project_name),
        template_id: snapshot.template_id(),
        extras: &snapshot.document.extras,
        graph: &snapshot.document.graph,
        vocabulary: projects::vocabulary(snapshot.blueprint.as_deref()),
    });
    state.projects.write(&project_id, &bytes)
}
