//! Head of the request that a socket began with. The head is kept as long as the socket.
//!
//! The parts of a parsed head are slices of the connection's read buffer: some hundred bytes of 16 KiB, and each slice
//! keeps the whole buffer. The buffer would be more memory than all else that an idle socket needs.

use axum::{
    extract::{OriginalUri, Request},
    http::{HeaderValue, Uri},
};

/// Returns the request with its head copied out of the read buffer.
pub(super) fn copy_out_of_read_buffer(mut request: Request) -> Request {
    for value in request.headers_mut().values_mut() {
        copy_value(value);
    }
    copy_uri(request.uri_mut());
    // The router keeps a second copy of the URI.
    if let Some(OriginalUri(uri)) = request.extensions_mut().get_mut() {
        copy_uri(uri);
    }
    request
}

fn copy_value(value: &mut HeaderValue) {
    // The bytes of a valid header value are a valid header value.
    if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
        copy.set_sensitive(value.is_sensitive());
        *value = copy;
    }
}

fn copy_uri(uri: &mut Uri) {
    if let Ok(copy) = uri.to_string().parse() {
        *uri = copy;
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, Bytes};

    use super::*;

    /// A copied head equals the original and does not keep the read buffer.
    #[test]
    fn copied_head_keeps_no_read_buffer() {
        let buffer = Bytes::from(b"/socket.io/?EIO=4&session_id=a websocket".to_vec());
        let (path, value) = (buffer.slice(..28), buffer.slice(29..));
        let request = || {
            let uri = Uri::from_maybe_shared(path.clone()).expect("a path and a query");
            Request::builder()
                .uri(uri.clone())
                .header(
                    "upgrade",
                    HeaderValue::from_maybe_shared(value.clone()).expect("visible"),
                )
                .extension(OriginalUri(uri))
                .body(Body::empty())
                .expect("a request")
        };
        let (kept, copied) = (request(), copy_out_of_read_buffer(request()));
        assert_eq!(copied.uri(), kept.uri());
        assert_eq!(copied.headers(), kept.headers());
        let original = copied.extensions().get::<OriginalUri>().expect("it stays");
        assert_eq!(original.0, *kept.uri());
        drop((kept, path, value));
        assert!(buffer.is_unique(), "something of the head is still in the buffer");
    }
}
