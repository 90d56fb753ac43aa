//! Compression of answers with gzip, for requests that accept gzip.
//!
//! The compression is not a layer: every request would pay for a layer, and few answers are large.
//! [`Compression::answer`] inspects the finished answer, and passes suitable answers to the middleware of `tower-http`.

use std::{convert::Infallible, future::Ready, future::ready, sync::Arc};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{self, HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::StreamExt as _;
use headers::{ContentType, HeaderMapExt as _, Mime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Service as _, ServiceExt as _, util::ServiceFn};
use tower_http::{CompressionLevel, compression};

use crate::config;

/// Inner service of the middleware, which returns the answer in the body of its request.
type Answered = fn(http::Request<Response>) -> Ready<Result<Response, Infallible>>;

/// Compresses large answers, up to a maximum number at one time. Clones share the limit.
#[derive(Clone)]
pub struct Compression {
    bytes_min: u64,
    encoders: Arc<Semaphore>,
    encoder: compression::Compression<ServiceFn<Answered>, Always>,
}

/// Predicate of the middleware. [`Compression::answer`] has already decided, so the predicate is always true.
#[derive(Debug, Clone, Copy)]
struct Always;

impl compression::Predicate for Always {
    fn should_compress<B: HttpBody>(&self, _: &http::Response<B>) -> bool {
        true
    }
}

impl Compression {
    /// Creates the compression with the limits of a configuration.
    #[must_use]
    pub fn new(config: &config::Rest) -> Self {
        let answered: Answered = |request| ready(Ok(request.into_body()));
        let encoder = compression::Compression::new(tower::service_fn(answered));
        Self {
            bytes_min: config.compression_bytes_min as u64,
            encoders: Arc::new(Semaphore::new(config.compressions_max)),
            // The fastest level already shrinks graphs to a tenth, since graphs repeat the names of their fields.
            encoder: encoder.quality(CompressionLevel::Fastest).compress_when(Always),
        }
    }

    /// Compresses an answer, if the answer is large text and the request accepts gzip.
    ///
    /// An answer that could be compressed for another request carries `Vary: accept-encoding`. The `ETag` of a
    /// compressed answer is weak, since the tag names the state and not the bytes (RFC 9110, section 8.8.1).
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
        self.encode(response.map(|body| copy_pieces(body, permit))).await
    }

    /// Returns true if an answer gains from compression and is not a live stream.
    fn is_worth_it(&self, response: &Response) -> bool {
        let headers = response.headers();
        // The length of a large answer is unknown, since the answer is encoded as it is read.
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

/// Content codings that a request accepts.
pub(super) struct Accepted(Vec<HeaderValue>);

impl Accepted {
    /// Copies the `Accept-Encoding` of a request. The header is parsed only if the answer is large.
    pub(super) fn of(request: &Request) -> Self {
        let values = request.headers().get_all(header::ACCEPT_ENCODING);
        Self(values.iter().cloned().collect())
    }

    /// Parses the header by RFC 9110, section 12.5.3: gzip by its name, or by `*` if the name is absent. The crate
    /// `headers` has no type with weights.
    fn gzip(&self) -> bool {
        let values = self.0.iter().filter_map(|value| value.to_str().ok());
        let (mut named, mut any) = (None, false);
        for coding in values.flat_map(|list| list.split(',')) {
            let mut parts = coding.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let is_accepted = !parts.any(is_zero_weight);
            if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                named = Some(is_accepted);
            } else if name == "*" {
                any = is_accepted;
            }
        }
        named.unwrap_or(any)
    }
}

/// Returns true for a weight of zero, which refuses the coding or media type that carries the weight.
pub(crate) fn is_zero_weight(parameter: &str) -> bool {
    let weight = parameter
        .split_once('=')
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, weight)| weight.trim().parse::<f32>() == Ok(0.0))
}

fn is_text(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers.typed_get::<ContentType>().map(Mime::from) else {
        return false;
    };
    let essence = media_type.essence_str();
    let named = [
        "application/javascript",
        "application/json",
        "application/openmetrics-text",
        "application/wasm",
        "image/svg+xml",
    ];
    // An event of a stream has to be sent as soon as it happens.
    let is_text = media_type.type_() == "text" && essence != "text/event-stream";
    is_text || named.contains(&essence) || media_type.suffix().is_some_and(|suffix| suffix == "json")
}

/// Returns true for an answer whose bytes must not change: already encoded, a range of bytes, or marked `no-transform`.
/// The directives are parsed here, since the parser of `headers` compares them by case (RFC 9111, section 5.2).
fn is_fixed(headers: &HeaderMap) -> bool {
    let cache = headers.get_all(header::CACHE_CONTROL).iter();
    let mut directives = cache
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','));
    headers.contains_key(header::CONTENT_ENCODING)
        || headers.contains_key(header::CONTENT_RANGE)
        || directives.any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
}

/// Makes the ETag weak. The type of `headers` has neither its text nor a weak form.
fn weaken_etag(headers: &mut HeaderMap) {
    if let Some(tag) = headers.get(header::ETAG)
        && !tag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(header::ETAG, weak);
    }
}

/// Copies each piece for the encoder. The encoder keeps a piece until it gets the next, while the source makes the next
/// piece only after the piece before is released. `fuse` is needed since the encoder polls after the end. The body
/// holds the permit for as long as the encoder may hold bytes.
fn copy_pieces(body: Body, permit: OwnedSemaphorePermit) -> Body {
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
    fn event_streams_and_fixed_bytes_stay_uncompressed() {
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

    /// An encoder takes about 300 kB, so the number of encoders is limited. An answer beyond the limit is sent
    /// uncompressed.
    #[tokio::test]
    async fn encoder_permits_are_limited_and_released() {
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
