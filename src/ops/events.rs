//! Supervision events as a stream.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{Response, sse::Event},
};
use futures_util::stream;
use serde_json::json;
use talus_actors::{permits::Permit, supervision::SupervisionEvent};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::answer::EventBody;
use crate::{
    http_kit::{ApiResult, AppState, sse::event_stream},
    wire::{ErrorCode, error::ApiError},
};

/// Subscriber to supervision events, for the lifetime of its stream.
struct Subscription {
    events: broadcast::Receiver<Arc<SupervisionEvent>>,
    stop: CancellationToken,
    _permit: Permit,
}

/// `GET /ops/events`: a subscriber that is too slow gets the number of missed events.
pub(super) async fn stream(State(state): State<AppState>) -> ApiResult<Response> {
    let max = state.listeners.max();
    let permit = state.listeners.try_acquire().ok_or_else(|| {
        ApiError::new(
            ErrorCode::Overloaded,
            format!("{max} listen, as many as listeners_max allows"),
        )
        .with("limit", "listeners_max")
        .with("max", max)
    })?;
    let subscription = Subscription {
        events: state.hub.supervision_events(),
        stop: state.stop.clone(),
        _permit: permit,
    };
    // The stream ends at the shutdown, which would wait for an open stream.
    let next = |mut subscription: Subscription| async move {
        let event = tokio::select! {
            () = subscription.stop.cancelled() => return None,
            event = subscription.events.recv() => match event {
                Ok(event) => supervision_event(&event),
                Err(RecvError::Lagged(missed)) => sse_event("missed", &json!({ "events": missed })),
                Err(RecvError::Closed) => return None,
            },
        };
        Some((Ok(event), subscription))
    };
    Ok(event_stream(stream::unfold(subscription, next)))
}

fn supervision_event(event: &SupervisionEvent) -> Event {
    sse_event(event.kind.as_str(), &EventBody::from(event))
}

fn sse_event(name: &str, body: &impl serde::Serialize) -> Event {
    Event::default()
        .event(name)
        .json_data(body)
        .unwrap_or_else(|_| Event::default().event(name).data("{}"))
}
