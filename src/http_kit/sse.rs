//! Streams of server-sent events, with headers that keep proxies from delaying events.

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

/// Headers against buffering. nginx buffers some kilobytes of an answer unless `x-accel-buffering` forbids it. A proxy
/// that compresses buffers too, and `no-transform` forbids compression.
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

/// Answers with events as they happen. The stream begins with a comment, so that the reader and every proxy see an open
/// stream at once, however long no event happens.
pub(crate) fn event_stream<S>(events: S) -> Response
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let opened = stream::once(ready(Ok(Event::default().comment("open"))));
    let events = Sse::new(opened.chain(events)).keep_alive(KeepAlive::default());
    (HEADERS, events).into_response()
}

/// Answers as [`event_stream`] does, for a stream that formats its lines itself in order to track their bytes.
pub(crate) fn line_stream<S>(lines: S) -> Response
where
    S: Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
{
    let opened = stream::once(ready(Ok(Bytes::from_static(b": open\n\n"))));
    let lines = Body::from_stream(opened.chain(lines));
    let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    (HEADERS, media_type, lines).into_response()
}
