//! A session's events as a stream of server-sent events: for readers that have no Socket.IO.

use axum::{
    http::HeaderMap,
    response::{Response, sse::Event},
};
use futures_util::{StreamExt as _, stream};
use talus_actors::{
    admission::Permit,
    domain::{
        event::Document,
        ids::{Epoch, Seq, SessionId, Timestamp},
    },
    fan_out::{Frame, Room, SyncReason},
    hub::Follower,
    world::now,
};

use super::{AppState, error::Answer, sse::event_stream};
use crate::wire::{
    error::Failure,
    event::record_frames,
    room::{room_of, stream_sync},
};

/// Whether a request wants a stream.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(axum::http::header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|list| list.split(','))
        .any(|one| one.split(';').next().unwrap_or_default().trim() == "text/event-stream")
}

/// Where a reader was when its connection was lost, in the words of the ids that it was given.
fn last_event(headers: &HeaderMap) -> Result<Option<(Option<Epoch>, Seq)>, Failure> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let read = text
        .split_once('-')
        .and_then(|(epoch, seq)| Some((epoch.parse().ok(), Seq(seq.parse().ok()?))));
    read.map(Some)
        .ok_or_else(|| Failure::invalid_field("Last-Event-ID", format!("{text:?} is no id of this stream")))
}

/// What a stream is made of.
struct Live {
    follower: Follower,
    room: Room,
    after: Seq,
    _permit: Permit,
}

/// Everything after a place, and then everything as it happens. A place that is of another log, or has not been reached,
/// gets the whole graph first, with the reason (P2).
pub(super) async fn events(
    state: &AppState,
    session_id: SessionId,
    headers: &HeaderMap,
    after: Option<Seq>,
) -> Answer<Response> {
    let place = match last_event(headers)? {
        // The header wins: it is what a browser sends by itself when it comes back to the same address.
        Some((epoch, seq)) => (Some(epoch), seq),
        None => (None, after.unwrap_or_default()),
    };
    let permit = state.streams.try_enter().ok_or_else(|| {
        let max = state.streams.max();
        Failure::new(
            "OVERLOADED",
            format!("{max} streams are open, as many as streams_max allows"),
        )
        .with("limit", "streams_max")
        .with("max", max)
    })?;
    let (genesis, head, mut follower) = state.hub.follow(session_id, place.1).await?;
    let lost = match place {
        (Some(epoch), _) if epoch != Some(genesis.epoch) => Some(SyncReason::EpochChanged),
        (_, seq) if seq > head => Some(SyncReason::AheadOfLog),
        _ => None,
    };
    let room = room_of(&genesis);
    let mut first = None;
    let mut after = place.1;
    if let Some(reason) = lost {
        let snapshot = state.hub.snapshot(session_id).await?;
        after = snapshot.seq;
        follower.skip_to(after);
        first = Some(sync(state, &room, after, reason, snapshot.document, now()).await?);
    }
    let live = Live {
        follower,
        room,
        after,
        _permit: permit,
    };
    let events = stream::iter(first).chain(stream::unfold(live, next).flat_map(stream::iter));
    Ok(event_stream(events.map(Ok)))
}

async fn sync(
    state: &AppState,
    room: &Room,
    seq: Seq,
    reason: SyncReason,
    document: Document,
    now: Timestamp,
) -> Result<Event, Failure> {
    let owned = room.clone();
    let frame = state
        .blocking(move |_| stream_sync(&owned, seq, reason, &document.graph, now))
        .await?;
    Ok(event(
        room,
        &Frame {
            seq: Some(seq),
            ..frame
        },
    ))
}

/// The next events, together. The end of the session, or of the hub, is the end of the stream: its reader comes back, and
/// is told.
async fn next(mut live: Live) -> Option<(Vec<Event>, Live)> {
    let records = live.follower.next().await.ok()?;
    let frames = records
        .iter()
        .flat_map(|record| record_frames(&live.room, record, live.after));
    let events = frames.map(|frame| event(&live.room, &frame)).collect();
    live.after = records.last().map_or(live.after, |record| record.seq());
    Some((events, live))
}

fn event(room: &Room, frame: &Frame) -> Event {
    let event = Event::default().event(frame.event).data(frame.data.get());
    match frame.seq {
        Some(seq) => event.id(format!("{}-{seq}", room.epoch)),
        None => event,
    }
}
