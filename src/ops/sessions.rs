//! Inspection of sessions, and operations on them.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    response::Response,
};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use talus_actors::{
    clock::now,
    domain::ids::{Seq, SessionId},
    session_supervisor::Operation,
};

use super::answer::{LogNode, LossesNode, Root, SessionNode, Tree};
use crate::{
    http_kit::{
        ApiResult, AppState,
        body::{Params, SessionPath, page_items},
        reading::{Outlet, STREAM_PAGE, WaitPolicy, with_type},
    },
    wire::{
        ErrorCode,
        error::{ApiError, internal},
    },
};

#[derive(Deserialize)]
pub(super) struct PageParams {
    limit: Option<usize>,
    offset: Option<usize>,
}

/// `GET /ops/actors`: the current tree. Passivated sessions are not loaded for it.
pub(super) async fn actors(State(state): State<AppState>, Params(params): Params<PageParams>) -> ApiResult<Json<Tree>> {
    let app = &state;
    let limit = page_items(app, params.limit)?;
    let (sessions, total) = app.hub.tree(params.offset.unwrap_or_default(), limit).await?;
    let stats = app.hub.stats();
    let refusal_reason = app.hub.log_refusal_reason();
    let root = Root {
        state: if app.hub.is_draining() { "draining" } else { "running" },
        uptime_s: app.started.elapsed().as_secs(),
        log: LogNode {
            storage: app.config.data.storage.as_str(),
            state: if refusal_reason.is_some() {
                "refusing"
            } else {
                "writing"
            },
            refusal_reason,
            append_failures: stats.append_failures.get(),
            losses: LossesNode::from(app.losses),
        },
        sessions_loaded: stats.sessions_loaded.get(),
        sessions_quarantined: stats.sessions_quarantined.get(),
        sockets: stats.members.get(),
    };
    let now = now();
    let sessions = sessions.into_iter().map(|one| SessionNode::new(one, now)).collect();
    Ok(Json(Tree { root, sessions, total }))
}

/// `GET /ops/sessions/{id}`
pub(super) async fn show(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
) -> ApiResult<Json<SessionNode>> {
    let inspected = state.hub.branch(session_id).await?;
    Ok(Json(SessionNode::new(inspected, now())))
}

async fn operate(state: AppState, session_id: SessionId, operation: Operation) -> ApiResult<Json<SessionNode>> {
    state.hub.operate(session_id, operation).await?;
    let inspected = state.hub.branch(session_id).await?;
    Ok(Json(SessionNode::new(inspected, now())))
}

/// `POST /ops/sessions/{id}/restart`: restarts the session's actor from the log. Its sockets stay connected and are
/// notified.
pub(super) async fn restart(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
) -> ApiResult<Json<SessionNode>> {
    operate(state, session_id, Operation::Restart).await
}

/// `POST /ops/sessions/{id}/quarantine`: stops the session until it is released.
pub(super) async fn quarantine(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
) -> ApiResult<Json<SessionNode>> {
    operate(state, session_id, Operation::Quarantine).await
}

/// `POST /ops/sessions/{id}/release`: restarts the session, with a new restart budget.
pub(super) async fn release(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
) -> ApiResult<Json<SessionNode>> {
    operate(state, session_id, Operation::Release).await
}

/// `POST /ops/sessions/{id}/passivate`: removes the session from memory, unless it is in use.
pub(super) async fn passivate(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
) -> ApiResult<Json<Value>> {
    if state.hub.passivate(session_id).await? {
        return Ok(Json(json!({ "session_id": session_id, "state": "asleep" })));
    }
    Err(ApiError::new(
        ErrorCode::SessionBusy,
        "somebody uses the session: it has sockets, readers or requests",
    )
    .into())
}

/// `GET /ops/sessions/{id}/log`: every record as stored in the log, one JSON object a line. The route needs no actor,
/// so it works for a session that cannot be started.
pub(super) async fn log(State(state): State<AppState>, SessionPath(session_id): SessionPath) -> ApiResult<Response> {
    // An unknown session is detected before the stream starts, while an error answer is still possible.
    state.hub.events_after(session_id, Seq::ZERO, 1).await?;
    let lines = Body::from_stream(lines(state, session_id));
    Ok(with_type("application/x-ndjson", lines))
}

fn lines(state: AppState, session_id: SessionId) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    let outlet = Outlet::new(&state.reading);
    stream::try_unfold((state, outlet, Seq::ZERO), move |(state, outlet, after)| async move {
        let taken = outlet.next_permit().await;
        let reading = &state.reading;
        let page = reading.page(&state.hub, session_id, after, STREAM_PAGE, WaitPolicy::Unbounded);
        let unreadable = |failure: ApiError| std::io::Error::other(failure.message);
        let encoded = page.await.map_err(unreadable)?.encode(|records| {
            let mut page = Vec::new();
            for record in records {
                serde_json::to_writer(&mut page, &**record).map_err(|error| internal(&error))?;
                page.push(b'\n');
            }
            Ok(page)
        });
        let (page, records) = encoded.map_err(unreadable)?;
        let Some(last) = records.last() else { return Ok(None) };
        let after = last.seq();
        Ok(Some((taken.attach_to(page), (state, outlet, after))))
    })
}
