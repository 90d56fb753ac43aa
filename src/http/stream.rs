//! Event stream of a session as server-sent events, for clients without Socket.IO.

use std::{convert::Infallible, fmt::Write as _, time::Duration};

use axum::{body::Bytes, http::HeaderMap, response::Response};
use futures_util::stream;
use talus_actors::{
    clock::now,
    domain::ids::{Epoch, Seq, SessionId},
    fan_out::{Frame, Room, SyncReason},
    hub::Follower,
    permits::Permit,
};

use crate::{
    http_kit::{
        ApiResult, AppState, is_zero_weight,
        reading::{Outlet, STREAM_PAGE, WaitPolicy},
        sse::line_stream,
    },
    wire::{
        ErrorCode,
        error::{ApiError, internal},
        event::encode_record,
        graph::GraphEncoder,
        room::{StreamSync, room_of},
    },
};

/// Interval between comments on a quiet stream, which keep proxies from closing the connection as dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Returns true if a request asks for an event stream. The crate `headers` has no type for `Accept`.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(axum::http::header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default();
        named.eq_ignore_ascii_case("text/event-stream") && !parts.any(is_zero_weight)
    })
}

/// Reads the position of a reader before its disconnect, from the id of the last event that it received.
fn last_event(headers: &HeaderMap) -> Result<Option<(Option<Epoch>, Seq)>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    crate::wire::request::stream_position(text).map(Some)
}

/// State of an open stream.
struct EventStream {
    state: AppState,
    outlet: Outlet,
    follower: Follower,
    room: Room,
    /// Snapshot that is sent before the events. `None`: not needed, or completely sent.
    sync: Option<GraphEncoder>,
    _permit: Permit,
}

/// Streams all events after a position, then events as they happen. If the position is from another epoch or ahead of
/// the log, the whole graph comes first, with the reason (P2).
pub(super) async fn events(
    state: &AppState,
    session_id: SessionId,
    headers: &HeaderMap,
    after: Option<Seq>,
) -> ApiResult<Response> {
    let position = match last_event(headers)? {
        // The header takes precedence: a browser sends it on its own when it reconnects to the same URL.
        Some((epoch, seq)) => (Some(epoch), seq),
        None => (None, after.unwrap_or_default()),
    };
    let permit = state.streams.try_acquire().ok_or_else(|| {
        let max = state.streams.max();
        ApiError::new(
            ErrorCode::Overloaded,
            format!("{max} streams are open, as many as streams_max allows"),
        )
        .with("limit", "streams_max")
        .with("max", max)
    })?;
    let (header, head, mut follower) = state.hub.follow(session_id, position.1).await?;
    let lost = match position {
        (Some(epoch), _) if epoch != Some(header.epoch) => Some(SyncReason::EpochChanged),
        (_, seq) if seq > head => Some(SyncReason::AheadOfLog),
        _ => None,
    };
    let room = room_of(&header);
    let mut sync = None;
    if let Some(reason) = lost {
        let snapshot = state.hub.snapshot(session_id).await?;
        follower.skip_to(snapshot.seq);
        let head = StreamSync::new(&room, snapshot.seq, reason, &snapshot.document.graph, now());
        let pieces = GraphEncoder::new(&head, snapshot.document.graph).map_err(|error| internal(&error))?;
        let id = format!("\nid: {}-{}\n\n", room.epoch, snapshot.seq);
        sync = Some(pieces.between("event: session:sync\ndata: ", &id));
    }
    let live = EventStream {
        state: state.clone(),
        outlet: Outlet::new(&state.reading),
        follower,
        room,
        sync,
        _permit: permit,
    };
    let pieces = stream::unfold(live, |mut live| async move {
        let piece = live.next().await?;
        Some((Ok::<_, Infallible>(piece), live))
    });
    Ok(line_stream(pieces))
}

impl EventStream {
    /// Returns the next events in one piece, after the connection has taken the piece before. The stream ends with the
    /// session or the hub: its reader reconnects, and gets the reason as an error.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(sync) = &mut self.sync {
            if let Some(piece) = self.outlet.next_piece(sync).await {
                return Some(piece);
            }
            self.sync = None;
        }
        let taken = self.outlet.next_permit().await;
        loop {
            match tokio::time::timeout(KEEP_ALIVE, self.follower.ready()).await {
                Ok(ready) => ready.ok()?,
                Err(_) => return Some(taken.attach_to(Bytes::from_static(b":\n\n"))),
            }
            let (hub, after) = (&self.state.hub, self.follower.after());
            let reading = &self.state.reading;
            let page = reading.page(
                hub,
                self.follower.session_id(),
                after,
                STREAM_PAGE,
                WaitPolicy::Unbounded,
            );
            let encoded = page.await.ok()?.encode(|records| {
                let mut text = String::new();
                for record in records {
                    encode_record(&self.room, record, after).for_each(|frame| write(&mut text, &self.room, &frame));
                }
                Ok(text.into_bytes())
            });
            let (text, records) = encoded.ok()?;
            self.follower.advance(&records);
            if !text.is_empty() {
                return Some(taken.attach_to(text));
            }
        }
    }
}

/// Writes an event in the line format of a stream. The JSON of an event has no line breaks.
fn write(text: &mut String, room: &Room, frame: &Frame) {
    let _ = write!(text, "event: {}\ndata: {}\n", frame.event, frame.data.get());
    if let Some(seq) = frame.seq {
        let _ = writeln!(text, "id: {}-{seq}", room.epoch);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header};

    use super::*;

    /// Media types are case-insensitive and may have parameters; a weight of zero refuses a type.
    #[test]
    fn accept_ignores_case_and_parameters() {
        let wanted = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            is_wanted(&headers)
        };
        for accept in [
            "text/event-stream",
            "Text/Event-Stream",
            "application/json, TEXT/EVENT-STREAM ; charset=utf-8 ; q=0.5",
            "text/event-stream;q=1.000",
        ] {
            assert!(wanted(accept), "{accept}");
        }
        for accept in [
            "*/*",
            "text/*",
            "text/event-streams",
            "text/event-stream;q=0",
            "text/event-stream; Q = 0.000",
            "application/json;profile=text/event-stream",
        ] {
            assert!(!wanted(accept), "{accept}");
        }
    }
}
