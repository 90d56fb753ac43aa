//! Compression of answers with gzip, for requests that accept it.
//!
//! It is no layer: every request would pay for one, and few answers are large. [`Compression::answer`] looks at the
//! finished answer, and hands those that are worth it to the middleware of `tower-http`.

use std::{convert::Infallible, future::Ready, future::ready, sync::Arc};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{self, HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Service as _, ServiceExt as _, util::ServiceFn};
use tower_http::{CompressionLevel, compression};

use crate::config;

/// Function that returns the answer which it gets as the body of its request.
type Answered = fn(http::Request<Response>) -> Ready<Result<Response, Infallible>>;

/// Compresses large answers, so many at one time. Clones share the limit.
#[derive(Clone)]
pub struct Compression {
    bytes_min: u64,
    encoders: Arc<Semaphore>,
    encoder: compression::Compression<ServiceFn<Answered>, Always>,
}

/// Predicate of the middleware: [`Compression::answer`] has decided already.
#[derive(Debug, Clone, Copy)]
struct Always;

impl compression::Predicate for Always {
    fn should_compress<B: HttpBody>(&self, _: &http::Response<B>) -> bool {
        true
    }
}

impl Compression {
    /// Compression with the limits of a configuration.
    #[must_use]
    pub fn new(config: &config::Rest) -> Self {
        let answered: Answered = |request| ready(Ok(request.into_body()));
        let encoder = compression::Compression::new(tower::service_fn(answered));
        Self {
            bytes_min: config.compression_bytes_min as u64,
            encoders: Arc::new(Semaphore::new(config.compressions_max)),
            // Graphs repeat the names of their fields: the fastest level makes them a tenth already.
            encoder: encoder.quality(CompressionLevel::Fastest).compress_when(Always),
        }
    }

    /// Compresses an answer, if that is worth it and the request accepts gzip.
    ///
    /// An answer that another request would get compressed says so in `Vary`. The `ETag` of a compressed answer is weak:
    /// it names the state and not these bytes (RFC 9110, section 8.8.1).
    pub(super) async fn answer(&self, accepted: &Accepted, mut response: Response) -> Response {
        let is_not_modified = response.status() == StatusCode::NOT_MODIFIED;
        if !is_not_modified && !self.is_worth_it(&response) {
            return response;
        }
        response
            .headers_mut()
            .append(header::VARY, header::ACCEPT_ENCODING.into());
        if !accepted.gzip() {
            return response;
        }
        if is_not_modified {
            weaken_etag(response.headers_mut());
            return response;
        }
        let Ok(permit) = Arc::clone(&self.encoders).try_acquire_owned() else {
            return response;
        };
        weaken_etag(response.headers_mut());
        self.encode(response.map(|body| copied(body, permit))).await
    }

    /// Tells answers that gain from compression from those that do not, or that are to arrive as they are made.
    fn is_worth_it(&self, response: &Response) -> bool {
        let headers = response.headers();
        // The length of a large answer, which is made as it is taken, is not known.
        let is_large = response
            .body()
            .size_hint()
            .upper()
            .is_none_or(|bytes| bytes >= self.bytes_min);
        is_large && is_text(headers) && !is_fixed(headers)
    }

    async fn encode(&self, response: Response) -> Response {
        let mut request = http::Request::new(response);
        let gzip = HeaderValue::from_static("gzip");
        request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
        let mut encoder = self.encoder;
        let Ok(encoder) = encoder.ready().await;
        let Ok(encoded) = encoder.call(request).await;
        encoded.map(Body::new)
    }
}

/// Codings that a request accepts.
pub(super) struct Accepted(Vec<HeaderValue>);

impl Accepted {
    /// The codings in the `Accept-Encoding` of a request. They are read only if the answer is large.
    pub(super) fn of(request: &Request) -> Self {
        let values = request.headers().get_all(header::ACCEPT_ENCODING);
        Self(values.iter().cloned().collect())
    }

    /// Reads the header by RFC 9110, section 12.5.3: by its name, or by a star unless its name says otherwise.
    fn gzip(&self) -> bool {
        let values = self.0.iter().filter_map(|value| value.to_str().ok());
        let (mut named, mut any) = (None, false);
        for coding in values.flat_map(|list| list.split(',')) {
            let mut parts = coding.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let is_accepted = !parts.any(is_never);
            if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                named = Some(is_accepted);
            } else if name == "*" {
                any = is_accepted;
            }
        }
        named.unwrap_or(any)
    }
}

/// Tells a parameter that refuses what it belongs to: a weight of zero.
pub(super) fn is_never(parameter: &str) -> bool {
    let weight = parameter
        .split_once('=')
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, weight)| weight.trim().parse::<f32>() == Ok(0.0))
}

fn is_text(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let named = [
        "application/javascript",
        "application/json",
        "application/openmetrics-text",
        "application/wasm",
        "image/svg+xml",
    ];
    // An event of a stream is to arrive when it happens.
    let is_text = essence.starts_with("text/") && essence != "text/event-stream";
    is_text || named.contains(&essence) || essence.ends_with("+json")
}

/// Tells answers whose bytes are not to be changed: encoded already, a range of bytes, or marked so.
fn is_fixed(headers: &HeaderMap) -> bool {
    let cache = headers.get_all(header::CACHE_CONTROL).iter();
    let mut directives = cache
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','));
    headers.contains_key(header::CONTENT_ENCODING)
        || headers.contains_key(header::CONTENT_RANGE)
        || directives.any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
}

fn weaken_etag(headers: &mut HeaderMap) {
    if let Some(tag) = headers.get(header::ETAG)
        && !tag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(header::ETAG, weak);
    }
}

/// Copies each piece for the encoder, which keeps one until it gets the next, while the next is made only when the one
/// before it has been released. The encoder also polls after the end. The permit is held as long as it may have bytes.
fn copied(body: Body, permit: OwnedSemaphorePermit) -> Body {
    let pieces = body.into_data_stream().map(move |piece| {
        let _held = &permit;
        piece.map(|piece| Bytes::copy_from_slice(&piece))
    });
    Body::from_stream(pieces.fuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(value: &'static str) -> bool {
        Accepted(vec![HeaderValue::from_static(value)]).gzip()
    }

    #[test]
    fn gzip_is_accepted_by_name_or_star() {
        for value in [
            "gzip",
            "GZIP",
            "x-gzip",
            "br, gzip;q=0.5",
            "*",
            "br;q=1, *;q=0.1",
            "gzip, *;q=0",
        ] {
            assert!(accepts(value), "{value}");
        }
        let refused = [
            "",
            "br",
            "identity",
            "gzip;q=0",
            "gzip ; Q=0.000, *",
            "*;q=0",
            "identity;q=0",
            "gzipped",
        ];
        for value in refused {
            assert!(!accepts(value), "{value}");
        }
        assert!(!Accepted(Vec::new()).gzip());
        let several = [HeaderValue::from_static("br"), HeaderValue::from_static("gzip")];
        assert!(Accepted(several.to_vec()).gzip());
    }

    fn with_header(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn streams_of_events_and_fixed_bytes_are_left_as_they_are() {
        let media_type = |value| is_text(&with_header(header::CONTENT_TYPE, value));
        for text in [
            "application/json",
            "text/html; charset=utf-8",
            "application/problem+json",
            "text/plain",
        ] {
            assert!(media_type(text), "{text}");
        }
        for other in [
            "text/event-stream",
            "text/event-stream; charset=utf-8",
            "image/png",
            "font/woff2",
            "",
        ] {
            assert!(!media_type(other), "{other}");
        }
        assert!(is_fixed(&with_header(header::CACHE_CONTROL, "no-cache, No-Transform")));
        assert!(is_fixed(&with_header(header::CONTENT_RANGE, "bytes 0-1/2")));
        assert!(is_fixed(&with_header(header::CONTENT_ENCODING, "br")));
        assert!(!is_fixed(&with_header(header::CACHE_CONTROL, "no-cache")));
    }

    /// An encoder takes some 300 kB, so that only so many are at work. An answer beyond that goes out as it is.
    #[tokio::test]
    async fn encoders_are_limited_and_free_again() {
        let mut config = crate::config::Config::default().rest;
        (config.compression_bytes_min, config.compressions_max) = (10, 1);
        let compression = Compression::new(&config);
        let answer = || {
            Response::builder()
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from("[1, 2, 3, 4, 5]"))
        };
        let encoded = async |compression: &Compression| {
            let accepted = Accepted(vec![HeaderValue::from_static("gzip")]);
            let answer = compression.answer(&accepted, answer().expect("an answer")).await;
            (answer.headers().contains_key(header::CONTENT_ENCODING), answer)
        };
        let (is_encoded, first) = encoded(&compression).await;
        assert!(is_encoded);
        let (is_encoded, second) = encoded(&compression).await;
        assert!(!is_encoded);
        assert_eq!(second.headers()[header::VARY], "accept-encoding");
        drop(first);
        let (is_encoded, third) = encoded(&compression).await;
        assert!(is_encoded);
        axum::body::to_bytes(third.into_body(), usize::MAX)
            .await
            .expect("complete");
        assert!(encoded(&compression).await.0);
    }
}
