//! Sessions: creation, reads and deletion.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use headers::{ETag, HeaderMapExt as _, IfNoneMatch};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use talus_actors::{
    domain::ids::{Epoch, Seq, SessionId},
    hub::{ChosenIds, HubError, NewSession},
    log::PageMax,
    session_actor::SessionView,
};

use super::{
    idempotency::{IdempotencyKey, reused},
    stream,
};
use crate::{
    http_kit::{
        ApiResult, AppState,
        body::{JsonText, NoFields, Params, RequestAuthor, SessionPath, page_items},
        reading::{PAGE_BYTES, WaitPolicy, json, with_graph},
    },
    wire::{
        answer::{GraphAnswer, HistoryEntry, SessionAnswer, SessionInfoAnswer},
        error::{ApiError, internal},
        event::{ListedEvent, encode_record},
        request::read,
        room::room_of,
    },
};

/// `POST /sessions`
pub(super) async fn create(
    State(state): State<AppState>,
    RequestAuthor(author): RequestAuthor,
    key: IdempotencyKey,
    NoFields: NoFields,
) -> ApiResult<Response> {
    let chosen = ChosenIds {
        session_id: key.session_id(&author),
        command_id: None,
    };
    let new = NewSession {
        project: None,
        first: None,
        author,
    };
    let header = match state.hub.create_as(chosen, new).await {
        Ok((header, _)) => header,
        // An earlier attempt of the same request has created the session.
        Err(HubError::SessionExists(session_id)) => {
            let header = session_of_retry(&state, session_id).await?.header;
            if header.project.is_some() {
                return Err(reused(session_id).into());
            }
            header
        }
        Err(error) => return Err(error.into()),
    };
    let answer = json!({ "session_id": header.session_id, "epoch": header.epoch });
    Ok(created(session_location(header.session_id), Json(answer)))
}

/// Returns the session that an earlier attempt of the same request created. For a session that is being created the
/// outcome is unknown, and the client retries.
pub(super) async fn session_of_retry(state: &AppState, session_id: SessionId) -> Result<SessionView, ApiError> {
    state.hub.snapshot(session_id).await.map_err(|error| match error {
        HubError::SessionNotFound(_) => HubError::OutcomeUnknown.into(),
        error => error.into(),
    })
}

/// Returns the URL path of a session.
pub(super) fn session_location(session_id: SessionId) -> String {
    super::api(&format!("/sessions/{session_id}/info"))
}

/// Answers 201 with the location of the created resource.
pub(super) fn created(location: String, answer: impl IntoResponse) -> Response {
    (StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response()
}

#[derive(Deserialize)]
pub(super) struct ListParams {
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct SessionList {
    sessions: Vec<SessionAnswer>,
    total: usize,
}

/// `GET /sessions`
pub(super) async fn list(
    State(state): State<AppState>,
    Params(params): Params<ListParams>,
) -> ApiResult<Json<SessionList>> {
    let limit = page_items(&state, params.limit)?;
    let (sessions, total) = state.hub.list(params.offset.unwrap_or_default(), limit).await?;
    Ok(Json(SessionList {
        sessions: sessions.iter().map(SessionAnswer::from).collect(),
        total,
    }))
}

/// `GET /sessions/{id}/info`
pub(super) async fn info(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
) -> ApiResult<Json<SessionInfoAnswer>> {
    let snapshot = state.hub.snapshot(session_id).await?;
    let here = state.hub.list_members(session_id).await?;
    Ok(Json(SessionInfoAnswer::new(&snapshot, &here)))
}

/// `GET /sessions/{id}/dirty`
pub(super) async fn dirty(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
) -> ApiResult<Json<Value>> {
    let snapshot = state.hub.snapshot(session_id).await?;
    Ok(Json(json!({ "session_id": session_id, "is_dirty": snapshot.is_dirty })))
}

/// `DELETE /sessions/{id}`
pub(super) async fn delete(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
) -> ApiResult<StatusCode> {
    state.hub.delete(session_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct CleanupRequest {
    max_inactive_hours: Option<f64>,
}

/// Upper bound of hours: a hundred years.
const INACTIVE_HOURS_MAX: f64 = 876_000.0;

/// `POST /sessions/cleanup`
pub(super) async fn cleanup(State(state): State<AppState>, JsonText(text): JsonText) -> ApiResult<Json<Value>> {
    let request: CleanupRequest = read("", &text)?;
    let hours = crate::wire::request::required("", "max_inactive_hours", request.max_inactive_hours)?;
    if !(0.0..=INACTIVE_HOURS_MAX).contains(&hours) {
        let reason = format!("{hours} is not between 0 and {INACTIVE_HOURS_MAX}");
        return Err(ApiError::invalid_field("max_inactive_hours", reason).into());
    }
    let cleanup = state.hub.cleanup(Duration::from_secs_f64(hours * 3_600.0)).await?;
    Ok(Json(
        json!({ "sessions_removed": cleanup.removed, "active_sessions": cleanup.remaining }),
    ))
}

#[derive(Deserialize)]
pub(super) struct GraphParams {
    min_seq: Option<Seq>,
    at_seq: Option<Seq>,
}

/// `GET /sessions/{id}/graph`
pub(super) async fn graph(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
    Params(params): Params<GraphParams>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let snapshot = read_at_least(&state, session_id, params.min_seq).await?;
    let seq = params.at_seq.unwrap_or(snapshot.seq);
    let epoch = snapshot.header.epoch;
    let tag = etag(epoch, seq);
    // The graph at a past `seq` is immutable, so the epoch and `seq` are a valid ETag, once the log has reached that
    // `seq`.
    let known = headers.typed_get::<IfNoneMatch>();
    if seq <= snapshot.seq && known.is_some_and(|known| !known.precondition_passes(&tag)) {
        return Ok(with_etag(tag, StatusCode::NOT_MODIFIED.into_response()));
    }
    // The current graph is shared with the session. An earlier graph is built for this reader.
    let (document, permit) = if seq == snapshot.seq {
        (snapshot.document, None)
    } else {
        let permit = state.reading.document(WaitPolicy::Bounded).await?;
        (state.hub.document_at(session_id, seq).await?, Some(permit))
    };
    let head = GraphAnswer::new(session_id, epoch, seq, &document.graph);
    let answer = with_graph(&state.reading, &head, document.graph, permit).await?;
    Ok(with_etag(tag, answer))
}

async fn read_at_least(state: &AppState, session_id: SessionId, min_seq: Option<Seq>) -> ApiResult<SessionView> {
    let snapshot = match min_seq {
        None => state.hub.snapshot(session_id).await?,
        Some(seq) => {
            state
                .hub
                .snapshot_at_least(session_id, seq, state.config.rest.min_seq_wait())
                .await?
        }
    };
    Ok(snapshot)
}

fn with_etag(tag: ETag, mut answer: Response) -> Response {
    answer.headers_mut().typed_insert(tag);
    answer
}

/// Returns the ETag of a session's state: its epoch and sequence number.
fn etag(epoch: Epoch, seq: Seq) -> ETag {
    let tag = format!("\"{epoch}-{seq}\"");
    tag.parse()
        .expect("hexadecimal digits, a hyphen and decimal digits are an entity tag")
}

#[derive(Deserialize)]
pub(super) struct EventsParams {
    after: Option<Seq>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct EventList {
    epoch: Epoch,
    events: Vec<ListedEvent>,
    next_after: Seq,
    more: bool,
}

/// `GET /sessions/{id}/events`
pub(super) async fn events(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
    Params(params): Params<EventsParams>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    if stream::is_wanted(&headers) {
        return stream::events(&state, session_id, &headers, params.after).await;
    }
    let limit = page_items(&state, params.limit)?;
    let after = params.after.unwrap_or_default();
    let snapshot = state.hub.snapshot(session_id).await?;
    let max = PageMax {
        items: limit,
        bytes: PAGE_BYTES,
    };
    let page = state
        .reading
        .page(&state.hub, session_id, after, max, WaitPolicy::Bounded)
        .await?;
    let room = room_of(&snapshot.header);
    let (list, _) = page.encode(|records| {
        let frames = records
            .iter()
            .flat_map(|record| encode_record(&room, record, after))
            .take(limit);
        let (mut events, mut next_after) = (Vec::new(), after);
        for frame in frames {
            next_after = frame.seq.unwrap_or(next_after);
            events.push(ListedEvent::from(frame));
        }
        // A record may hold more events than the page, and the log may have grown since the snapshot.
        let last = records
            .last()
            .map_or(snapshot.seq, |record| record.seq().max(snapshot.seq));
        let list = EventList {
            epoch: snapshot.header.epoch,
            events,
            next_after,
            more: next_after < last,
        };
        serde_json::to_vec(&list).map_err(|error| internal(&error))
    })?;
    Ok(json(list))
}

#[derive(Deserialize)]
pub(super) struct HistoryParams {
    before: Option<Seq>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct HistoryList {
    commands: Vec<HistoryEntry>,
    more: bool,
}

/// `GET /sessions/{id}/history`
pub(super) async fn history(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
    Params(params): Params<HistoryParams>,
) -> ApiResult<Response> {
    let limit = page_items(&state, params.limit)?;
    let max = PageMax {
        items: limit,
        bytes: HISTORY_PAGE_BYTES,
    };
    let read = state.hub.commands_before(session_id, params.before, max);
    let page = state.reading.encoded_page(limit * HISTORY_ENTRY_BYTES, read, |page| {
        let entries = page.items.iter();
        let list = HistoryList {
            commands: entries
                .map(|told| HistoryEntry::new(&told.recorded, told.undone))
                .collect(),
            more: page.more,
        };
        serde_json::to_vec(&list).map_err(|error| internal(&error))
    });
    Ok(json(page.await?))
}

/// Approximate bytes of a history entry as JSON.
const HISTORY_ENTRY_BYTES: usize = 512;

/// Bytes of records that are read for a page of the history, as stored in the log. A page that would exceed the limit
/// is short.
const HISTORY_PAGE_BYTES: usize = 1024 * 1024;
