//! Projects: sessions with a name, a template and a file.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use ecow::EcoString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use talus_actors::{
    domain::{
        ids::{Epoch, IdError, ProjectId, Seq, SessionId, TemplateId},
        limits::{NameError, check_name},
        rejection::Rejection,
    },
    hub::ChosenIds,
};

use super::{
    idempotency::{IdempotencyKey, reused},
    sessions::{created, session_location},
    templates,
};
use crate::{
    http_kit::{
        ApiResult, AppState, ErrorResponse,
        body::{GraphBytes, JsonText, NoFields, Params, PathText, RequestAuthor, SessionPath, page_items},
        reading::with_graph,
    },
    projects::{
        self, GraphToLoad, ImportError, JsonError, LoadedGraph, NewProject, OpenedProject, Orphan, ProjectContent,
        ProjectError, ReadError, WriteError,
    },
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
struct CreateAnswer {
    session_id: SessionId,
    project_id: ProjectId,
    epoch: Epoch,
    seq: Seq,
}

/// `POST /projects`
pub(super) async fn create(
    State(state): State<AppState>,
    RequestAuthor(author): RequestAuthor,
    key: IdempotencyKey,
    JsonText(text): JsonText,
) -> ApiResult<Response> {
    let request: CreateRequest = read("", &text)?;
    let template_id = required("", "template_id", request.template_id)?;
    let project_name = required("", "project_name", request.project_name)?;
    check_name(&project_name, &state.limits).map_err(|fault| name_failure(&fault))?;
    let project_id = request.project_id.map(|text| id("", "project_id", &text)).transpose()?;
    let chosen = ChosenIds {
        session_id: key.session_id(&author),
        command_id: key.command_id(None)?,
    };
    let new = NewProject {
        project_name,
        template_id,
        project_id,
    };
    let project = state.projects.create(new, author, chosen).await?;
    let (project_id, snapshot) = (project.project_id, project.snapshot);
    let location = super::api(&format!("/projects/{project_id}"));
    let head = CreateAnswer {
        session_id: project.session_id,
        project_id,
        epoch: snapshot.header.epoch,
        seq: snapshot.seq,
    };
    let answer = with_graph(&state.reading, &head, snapshot.document.graph, None).await?;
    Ok(created(location, answer))
}

#[derive(Deserialize)]
pub(super) struct ListParams {
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Serialize)]
struct ListedProject {
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
    let page = state.projects.list(params.offset.unwrap_or_default(), limit).await?;
    let projects = page.projects.into_iter().map(ListedProject::from);
    Ok(Json(ProjectList {
        projects: projects.collect(),
        total: page.total,
    }))
}

impl From<projects::ListedProject> for ListedProject {
    fn from(listed: projects::ListedProject) -> Self {
        let session = listed.session.as_ref();
        let project = session.and_then(|header| header.project.as_ref());
        Self {
            project_id: listed.project_id,
            session_id: session.map(|header| header.session_id),
            project_name: project.map(|project| project.project_name.clone()),
            template_id: project.and_then(|project| project.template_id.clone()),
            is_saved: listed.is_saved,
        }
    }
}

#[derive(Serialize)]
struct ProjectAnswer {
    project_id: ProjectId,
    project_name: Option<EcoString>,
    template_id: Option<TemplateId>,
    session_id: Option<SessionId>,
}

/// `GET /projects/{id}`: the state of the project's session, or else of its file.
pub(super) async fn show(State(state): State<AppState>, PathText(text): PathText) -> ApiResult<Response> {
    let project_id = parse_project_id(&text)?;
    let (head, graph, permit) = match state.projects.read(&project_id).await? {
        ProjectContent::Session(session_id, snapshot) => {
            let project = snapshot.header.project.as_ref();
            let head = ProjectAnswer {
                project_id,
                project_name: project.map(|project| project.project_name.clone()),
                template_id: snapshot.template_id().cloned(),
                session_id: Some(session_id),
            };
            (head, snapshot.document.graph, None)
        }
        ProjectContent::File(file, permit) => {
            let head = ProjectAnswer {
                project_id,
                project_name: file.imported.project_name,
                template_id: file.template_id,
                session_id: None,
            };
            (head, file.imported.graph, Some(permit))
        }
    };
    Ok(with_graph(&state.reading, &head, graph, permit).await?)
}

/// `DELETE /projects/{id}`
pub(super) async fn delete(State(state): State<AppState>, PathText(text): PathText) -> ApiResult<StatusCode> {
    let project_id = parse_project_id(&text)?;
    state.projects.delete(&project_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
struct OpenAnswer {
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

fn orphans(orphans: &[Orphan]) -> Vec<Value> {
    let each = orphans.iter().map(|orphan| {
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
    RequestAuthor(author): RequestAuthor,
    key: IdempotencyKey,
    NoFields: NoFields,
) -> ApiResult<Response> {
    let project_id = parse_project_id(&text)?;
    let opened = state.projects.open(&project_id, author, key.command_id(None)?).await?;
    let OpenedProject {
        session_id,
        snapshot,
        already_open,
        ..
    } = opened;
    let answer = OpenAnswer {
        session_id,
        project_id,
        epoch: snapshot.header.epoch,
        seq: snapshot.seq,
        orphans: orphans(&opened.orphans),
        already_open,
        template_missing: snapshot.template_id().is_some() && snapshot.blueprint.is_none(),
    };
    let answer = with_graph(&state.reading, &answer, snapshot.document.graph, None).await?;
    if already_open {
        return Ok(answer);
    }
    Ok(created(session_location(session_id), answer))
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
    RequestAuthor(author): RequestAuthor,
    key: IdempotencyKey,
    GraphBytes(bytes): GraphBytes,
) -> ApiResult<Json<LoadAnswer>> {
    let depth_max = state.config.limits.json_depth_max;
    let parse = move || parse_graph(&bytes, depth_max, key);
    let loaded = state.projects.load_graph(session_id, author, parse).await;
    let LoadedGraph {
        submitted,
        orphans: unknown,
        template_missing,
    } = loaded.map_err(ErrorResponse)?;
    Ok(Json(LoadAnswer {
        answer: CommandAnswer::new(submitted.epoch, &submitted.receipt),
        orphans: orphans(&unknown),
        template_missing,
    }))
}

fn parse_graph(bytes: &[u8], depth_max: usize, key: IdempotencyKey) -> Result<GraphToLoad, ApiError> {
    let body = projects::parse_document(bytes, depth_max)
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
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(id("", "template_id", &text)?),
        Some(_) => return Err(ApiError::invalid_field("template_id", "must be a string")),
    };
    Ok(GraphToLoad {
        graph,
        template_id,
        command_id: key.command_id(command_id)?,
    })
}

/// `POST /sessions/{id}/save`
pub(super) async fn save(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
    RequestAuthor(author): RequestAuthor,
    key: IdempotencyKey,
    NoFields: NoFields,
) -> ApiResult<Json<Value>> {
    let saved = state.projects.save(session_id, author, key.command_id(None)?).await?;
    let mut answer = json!({ "success": true, "path": saved.file, "seq": saved.seq });
    if saved.is_duplicate {
        answer["duplicate"] = json!(true);
    }
    Ok(Json(answer))
}

impl From<ProjectError> for ErrorResponse {
    fn from(error: ProjectError) -> Self {
        Self(error.into())
    }
}

impl From<ProjectError> for ApiError {
    fn from(error: ProjectError) -> Self {
        match error {
            ProjectError::Hub(error) => error.into(),
            ProjectError::DocumentsBusy { max } => Self::new(ErrorCode::Overloaded, error.to_string())
                .with("limit", "documents_max")
                .with("max", max),
            ProjectError::NotFound(project_id) => project_not_found(project_id.as_str()),
            ProjectError::Exists(ref project_id) => {
                Self::new(ErrorCode::ProjectExists, error.to_string()).with("project_id", project_id)
            }
            ProjectError::NoId => Self::invalid_field(
                "project_id",
                "is required: the project's name has no letter or digit to make one of",
            ),
            ProjectError::OtherRequest(session_id) => reused(session_id),
            ProjectError::OtherCommand(command_id) => Self::from(&Rejection::CommandIdReused(command_id)),
            ProjectError::Template { id, error } => templates::failure(&id, &error),
            ProjectError::Read(ReadError::TooLarge { max }) | ProjectError::Write(WriteError::TooLarge { max }) => {
                Self::new(ErrorCode::LimitExceeded, error.to_string())
                    .with("limit", "file_bytes_max")
                    .with("max", max)
            }
            ProjectError::Json(error) => json_failure(&error, |message| {
                Self::new(ErrorCode::InvalidGraph, message).with("path", "")
            }),
            ProjectError::Import(error) => graph_failure(&error),
            ProjectError::Read(_) | ProjectError::Write(_) | ProjectError::Files(_) | ProjectError::Internal(_) => {
                internal(&error)
            }
        }
    }
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

fn project_not_found(project_id: &str) -> ApiError {
    ApiError::new(
        ErrorCode::ProjectNotFound,
        format!("project {project_id:?} does not exist"),
    )
}

fn parse_project_id(text: &str) -> Result<ProjectId, ApiError> {
    text.parse().map_err(|_: IdError| project_not_found(text))
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

fn graph_failure(error: &ImportError) -> ApiError {
    match error {
        ImportError::Invalid { path, .. } => {
            ApiError::new(ErrorCode::InvalidGraph, error.to_string()).with("path", path)
        }
        ImportError::Limit { path, exceeded } => ApiError::new(ErrorCode::LimitExceeded, error.to_string())
            .with("limit", exceeded.limit)
            .with("max", exceeded.max)
            .with("path", path),
    }
}
