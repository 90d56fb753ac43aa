//! HTTP service of the Socket.IO edge.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    http::header,
    response::Response,
};
use engineioxide::service::NotFoundService;
use hyper_util::rt::TokioIo;
use socketioxide::service::SocketIoService;
use tokio::time::timeout;

use super::{
    Settings,
    handshake::{self, Refusal, RequestKind},
    link::Link,
    request_head,
    session::{Sessions, Transport},
    stream::LibraryStream,
};
use crate::{config::Realtime, listener::Connection, metrics::Metrics, permits::Permits};

/// Default path of Socket.IO clients.
pub const PATH: &str = "/socket.io/";

/// Service of the Socket.IO library.
type Library = SocketIoService<NotFoundService>;

/// Service of a library's sessions. Clones serve the same sessions.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

/// State that all requests share.
pub(super) struct Shared {
    library: Library,
    pub(super) sessions: Sessions,
    pub(super) settings: Arc<Settings>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Service {
    /// Creates the service of a library. The budget bounds unfinished messages of all connections.
    #[must_use]
    pub fn new(library: Library, realtime: &Realtime, receiving: &Permits, metrics: &Metrics) -> Self {
        Self(Arc::new(Shared {
            library,
            sessions: Sessions::default(),
            settings: Arc::new(Settings::new(realtime, receiving, metrics)),
        }))
    }

    /// Closes all websockets, each after its unwritten data, such that the clients reconnect. The library sees the end
    /// of the streams, and can send nothing more.
    pub fn close_websockets(&self) {
        self.0.settings.closing.cancel();
    }
}

impl tower::Service<Request> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { Ok(shared.answer(request_head::copy_out_of_read_buffer(request)).await) })
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request) -> Response {
        let answered = match handshake::classify(&request) {
            Ok(RequestKind::Websocket(Some(sid))) => self.probe(sid, request),
            Ok(RequestKind::Websocket(None)) => self.websocket(request),
            Ok(RequestKind::Open) => Ok(self.open(request).await),
            Ok(RequestKind::Poll(sid)) => Ok(self.poll(sid, request).await),
            Ok(RequestKind::Post(sid)) => Ok(self.post(sid, request).await),
            Ok(RequestKind::Other) => Ok(self.call(request).await),
            Err(refusal) => Err(refusal),
        };
        answered.unwrap_or_else(Refusal::response)
    }

    /// Passes a request to the library.
    pub(super) async fn call(&self, request: Request) -> Response {
        let mut library = self.library.clone();
        match tower::Service::<Request>::call(&mut library, request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    }

    /// Begins a session as a websocket.
    fn websocket(self: Arc<Self>, mut request: Request) -> Result<Response, Refusal> {
        let response = handshake::accept(&request)?;
        let connection = connection(&request);
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(&mut request);
            // The response is written before the upgrade completes, so the wait depends on how fast the peer reads.
            if let Ok(Ok(io)) = timeout(self.settings.write_stall, upgraded).await {
                let link = Link::new(TokioIo::new(io), Arc::clone(&self.settings));
                request.extensions_mut().insert(Transport::websocket(connection));
                self.hand_over(LibraryStream::new(link), request);
            }
        });
        Ok(response)
    }

    /// Passes a websocket to the library.
    pub(super) fn hand_over<S>(&self, stream: LibraryStream<S>, request: Request)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let mut request = request.map(drop);
        request.headers_mut().remove(header::SEC_WEBSOCKET_EXTENSIONS);
        let mut library = self.library.clone();
        // The library is ready at once, and the request has been checked.
        let handed = tower::Service::<(LibraryStream<S>, _)>::call(&mut library, (stream, request));
        if let Err(error) = handed.into_inner() {
            tracing::error!(%error, "a websocket that was accepted was refused by the library");
        }
    }
}

/// Returns the connection of a request.
pub(super) fn connection(request: &Request) -> Option<Connection> {
    let info = request.extensions().get::<ConnectInfo<Connection>>();
    info.map(|info| info.0.clone())
}
