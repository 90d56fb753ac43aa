//! Commands over REST.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use talus_actors::domain::{
    command::{Author, Command, Context},
    ids::SessionId,
};
use tracing::Instrument;

use super::idempotency::IdempotencyKey;
use crate::{
    command_instrumentation::{CommandSpan, context},
    http_kit::{
        ApiResult, AppState,
        body::{JsonText, OptionalJsonText, Params, RequestAuthor, SessionPath},
        reading::with_graph,
    },
    wire::{
        answer::CommandAnswer,
        command::{HistoryRequest, read_command},
        error::ApiError,
        request::{read, required},
    },
};

#[derive(Deserialize)]
pub(super) struct AnswerParams {
    graph: Option<bool>,
}

/// `POST /commands/execute`
pub(super) async fn execute(
    State(state): State<AppState>,
    RequestAuthor(author): RequestAuthor,
    key: IdempotencyKey,
    Params(params): Params<AnswerParams>,
    JsonText(text): JsonText,
) -> ApiResult<Response> {
    let request = read_command(&text)?;
    let session_id = required("", "session_id", request.session_id)?;
    let context = context(key.command_id(request.command_id)?, author, request.expected_seq);
    answer(&state, session_id, request.command, context, &params).await
}

/// `POST /sessions/{id}/undo`
pub(super) async fn undo(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
    RequestAuthor(author): RequestAuthor,
    key: IdempotencyKey,
    Params(params): Params<AnswerParams>,
    OptionalJsonText(text): OptionalJsonText,
) -> ApiResult<Response> {
    let request: HistoryRequest = read("", &text)?;
    let command = request.undo()?;
    let context = history_context(&request, author, key)?;
    answer(&state, session_id, command, context, &params).await
}

/// `POST /sessions/{id}/redo`
pub(super) async fn redo(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
    RequestAuthor(author): RequestAuthor,
    key: IdempotencyKey,
    Params(params): Params<AnswerParams>,
    OptionalJsonText(text): OptionalJsonText,
) -> ApiResult<Response> {
    let request: HistoryRequest = read("", &text)?;
    let command = request.redo()?;
    let context = history_context(&request, author, key)?;
    answer(&state, session_id, command, context, &params).await
}

fn history_context(request: &HistoryRequest, author: Author, key: IdempotencyKey) -> Result<Context, ApiError> {
    let command_id = key.command_id(request.command_id()?)?;
    Ok(context(command_id, author, request.expected_seq))
}

/// Submits a command and waits for its outcome.
async fn submit(
    state: &AppState,
    session_id: SessionId,
    command: Command,
    context: Context,
) -> Result<CommandAnswer, ApiError> {
    let tracked = CommandSpan::begin(session_id, &command, &context);
    let span = tracked.span.clone();
    let submitted = state.hub.submit(session_id, Arc::new(command), context, span.clone());
    let result = submitted.instrument(span).await;
    tracked.end(&state.metrics, result)
}

async fn answer(
    state: &AppState,
    session_id: SessionId,
    command: Command,
    context: Context,
    params: &AnswerParams,
) -> ApiResult<Response> {
    let answer = submit(state, session_id, command, context).await?;
    if params.graph.unwrap_or(state.config.rest.return_graph) {
        let snapshot = state.hub.snapshot(session_id).await?;
        return Ok(with_graph(&state.reading, &answer, snapshot.document.graph, None).await?);
    }
    Ok(Json(answer).into_response())
}
