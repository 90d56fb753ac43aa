//! What happens in the tree, as it happens.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use serde_json::json;
use talus_actors::supervision::SupervisionEvent;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::answer::EventBody;
use crate::http::AppState;

type Heard = broadcast::Receiver<Arc<SupervisionEvent>>;

/// `GET /ops/events`: a listener who is too slow is told how many events he missed.
pub(super) async fn stream(State(state): State<AppState>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let heard = state.hub.supervision_events();
    // A stream that would keep the shutdown waiting ends with it.
    let next = |(mut heard, stop): (Heard, CancellationToken)| async move {
        let event = tokio::select! {
            () = stop.cancelled() => return None,
            event = heard.recv() => match event {
                Ok(event) => told(&event),
                Err(RecvError::Lagged(missed)) => named("missed", &json!({ "events": missed })),
                Err(RecvError::Closed) => return None,
            },
        };
        Some((Ok(event), (heard, stop)))
    };
    Sse::new(stream::unfold((heard, state.stop.clone()), next)).keep_alive(KeepAlive::default())
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
