//! Streams of server-sent events, such that they arrive at once whatever stands in between.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt as _, future::ready, stream};

/// nginx gathers an answer until some kilobytes are there, unless the answer says otherwise. A proxy that compresses
/// gathers too, and `no-transform` tells it not to.
const HEADERS: [(HeaderName, HeaderValue); 2] = [
    (
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    ),
    (
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    ),
];

/// Answers with events as they happen. The stream begins with a comment, so that a reader and every proxy before it know
/// at once that it is open, however long it is quiet.
pub(crate) fn event_stream<S>(events: S) -> Response
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let opened = stream::once(ready(Ok(Event::default().comment("open"))));
    let events = Sse::new(opened.chain(events)).keep_alive(KeepAlive::default());
    (HEADERS, events).into_response()
}

/// The same for a stream that writes its lines itself, to say how much of them it has made.
pub(crate) fn line_stream<S>(lines: S) -> Response
where
    S: Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
{
    let opened = stream::once(ready(Ok(Bytes::from_static(b": open\n\n"))));
    let lines = Body::from_stream(opened.chain(lines));
    let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    (HEADERS, media_type, lines).into_response()
}
