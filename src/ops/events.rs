//! Supervision events as a stream.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{Response, sse::Event},
};
use futures_util::stream;
use serde_json::json;
use talus_actors::{admission::Permit, supervision::SupervisionEvent};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::answer::EventBody;
use crate::{
    http::{Answer, AppState, sse::event_stream},
    wire::error::Failure,
};

/// Subscriber to supervision events, for the lifetime of its stream.
struct Listening {
    heard: broadcast::Receiver<Arc<SupervisionEvent>>,
    stop: CancellationToken,
    _permit: Permit,
}

/// `GET /ops/events`: a subscriber that is too slow gets the number of missed events.
pub(super) async fn stream(State(state): State<AppState>) -> Answer<Response> {
    let max = state.listeners.max();
    let permit = state.listeners.try_enter().ok_or_else(|| {
        Failure::new("OVERLOADED", format!("{max} listen, as many as listeners_max allows"))
            .with("limit", "listeners_max")
            .with("max", max)
    })?;
    let listening = Listening {
        heard: state.hub.supervision_events(),
        stop: state.stop.clone(),
        _permit: permit,
    };
    // The stream ends at the shutdown, which would wait for an open stream.
    let next = |mut listening: Listening| async move {
        let event = tokio::select! {
            () = listening.stop.cancelled() => return None,
            event = listening.heard.recv() => match event {
                Ok(event) => told(&event),
                Err(RecvError::Lagged(missed)) => named("missed", &json!({ "events": missed })),
                Err(RecvError::Closed) => return None,
            },
        };
        Some((Ok(event), listening))
    };
    Ok(event_stream(stream::unfold(listening, next)))
}

fn told(event: &SupervisionEvent) -> Event {
    named(event.kind.as_str(), &EventBody::from(event))
}

fn named(name: &str, body: &impl serde::Serialize) -> Event {
    Event::default()
        .event(name)
        .json_data(body)
        .unwrap_or_else(|_| Event::default().event(name).data("{}"))
}
