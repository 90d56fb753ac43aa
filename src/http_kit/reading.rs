//! Bounded reads: limits the number of concurrent readers and the bytes of their answers that wait to be written.
//!
//! ```text
//!  GET graph, open, …  ──────────────▶ a piece of the graph ──▶ the socket took it ──▶ the next piece
//!  events, history, streams, log ──▶ reader permit: a page of the log, encoded ──▶ the socket took it ──▶ the next page
//!  at_seq, project files, load, save ──▶ document permit, until the answer is written
//! ```
//!
//! A piece or page reserves its bytes before it is encoded, and holds them until the connection has written the bytes
//! or is closed. So a client that does not read costs one piece, whatever the size of its request, and commands do not
//! wait for the client (P9). No reader waits for more while it holds a reservation: a page that exceeds its reservation
//! is dropped, and read again under a larger reservation.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Serialize;
use talus_actors::{
    domain::{
        graph::Graph,
        ids::{Seq, SessionId},
        record::CommandRecord,
    },
    hub::Hub,
    log::PageMax,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    config,
    permits::{Permit, Permits},
    wire::{
        ErrorCode,
        error::{ApiError, internal},
        graph::GraphEncoder,
    },
};

/// Bytes of a piece of a graph: the memory that one answer takes at one time. The size is small enough for a thousand
/// answers and large enough for a system call.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// Maximum page of a stream, in records and in bytes of records as stored in the log.
pub(crate) const STREAM_PAGE: PageMax = PageMax {
    items: 256,
    bytes: 16 * 1024,
};

/// Bytes of records in a requested page, as stored in the log. A page that would exceed the limit is short.
pub(crate) const PAGE_BYTES: usize = 256 * 1024;

/// Factor by which a page may grow from its stored records to its events before it is read again under a reservation of
/// its actual size.
const PAGE_GROWTH_MAX: usize = 4;

/// Approximate bytes of an event's envelope, with the bytes that a stream adds.
const ENVELOPE_BYTES: usize = 512;

/// Page size in bytes above which a page holds a document permit instead of bytes of the shared budget. Such a page is
/// a single command that loads a graph, or a very large batch.
const LARGE_BYTES: usize = 1024 * 1024;

/// Limits on reading. Clones share the limits.
#[derive(Debug, Clone)]
pub struct Reading {
    bytes: Permits,
    readers: Named,
    documents: Named,
    wait: Duration,
}

/// Permits with the name of their limit.
#[derive(Debug, Clone)]
struct Named {
    permits: Permits,
    limit: &'static str,
}

/// Resources that an answer holds until it is written.
#[derive(Debug)]
pub(crate) enum Hold {
    /// Bytes of the budget shared by all answers.
    Bytes(Permit),
    /// Document permit of a large page.
    Document(#[expect(dead_code, reason = "held until it is dropped")] Permit),
}

/// Waiting policy of a reader for its permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitPolicy {
    /// Waits without limit: a stream, which continues later.
    Unbounded,
    /// Fails after `rest.reading_wait_ms`: a request without an answer yet.
    Bounded,
}

/// Records of a page with the resources that they hold, and the reader permit under which they are encoded.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) records: Vec<Arc<CommandRecord>>,
    hold: Hold,
    reader_permit: Permit,
}

impl Named {
    fn new(limit: &'static str, max: usize) -> Self {
        let permits = Permits::new(max);
        Self { permits, limit }
    }
}

impl Reading {
    /// Creates the limits from the configuration.
    #[must_use]
    pub fn new(config: &config::Rest) -> Self {
        Self {
            bytes: Permits::new(config.reading_bytes_max),
            readers: Named::new("readers_max", config.readers_max),
            documents: Named::new("documents_max", config.documents_max),
            wait: config.reading_wait(),
        }
    }

    /// Number of bytes that answers hold.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.bytes.in_use()
    }

    /// Returns the permits of documents that one reader holds.
    #[must_use]
    pub fn documents(&self) -> Permits {
        self.documents.permits.clone()
    }

    /// Number of documents that single readers hold.
    #[must_use]
    pub fn documents_held(&self) -> usize {
        self.documents.permits.in_use()
    }

    /// Reserves bytes of an answer.
    pub(crate) async fn reserve(&self, bytes: usize, policy: WaitPolicy) -> Result<Permit, ApiError> {
        let reserved = self.bytes.acquire_many(bytes);
        self.wait_with_policy(policy, "reading_bytes_max", self.bytes.max(), reserved)
            .await
    }

    /// Takes a permit for a document that one reader holds.
    pub(crate) async fn document(&self, policy: WaitPolicy) -> Result<Permit, ApiError> {
        self.take(&self.documents, policy).await
    }

    async fn reader_permit(&self, policy: WaitPolicy) -> Result<Permit, ApiError> {
        self.take(&self.readers, policy).await
    }

    async fn take(&self, Named { permits, limit }: &Named, policy: WaitPolicy) -> Result<Permit, ApiError> {
        self.wait_with_policy(policy, limit, permits.max(), permits.acquire_many(1))
            .await
    }

    async fn wait_with_policy<T>(
        &self,
        policy: WaitPolicy,
        limit: &'static str,
        max: usize,
        waited: impl Future<Output = T>,
    ) -> Result<T, ApiError> {
        if policy == WaitPolicy::Unbounded {
            return Ok(waited.await);
        }
        tokio::time::timeout(self.wait, waited).await.map_err(|_| {
            let message = format!("readers take as much as {limit} allows, which is {max}");
            ApiError::new(ErrorCode::Overloaded, message)
                .with("limit", limit)
                .with("max", max)
        })
    }

    /// Reads the records after a sequence number, and reserves the bytes that they take as events.
    pub(crate) async fn page(
        &self,
        hub: &Hub,
        session_id: SessionId,
        after: Seq,
        max: PageMax,
        policy: WaitPolicy,
    ) -> Result<Page, ApiError> {
        let mut reserved = max.bytes.saturating_mul(PAGE_GROWTH_MAX);
        let mut hold = Hold::Bytes(self.reserve(reserved, policy).await?);
        loop {
            let reader_permit = self.reader_permit(policy).await?;
            let records = hub.events_after(session_id, after, max).await?;
            let bytes = encoded_bytes(&records);
            if bytes <= reserved || matches!(hold, Hold::Document(_)) {
                return Ok(Page {
                    records,
                    hold,
                    reader_permit,
                });
            }
            drop((records, reader_permit, hold));
            hold = if bytes <= LARGE_BYTES {
                reserved = bytes;
                Hold::Bytes(self.reserve(bytes, policy).await?)
            } else {
                Hold::Document(self.document(policy).await?)
            };
        }
    }

    /// Reads and encodes a page of other data, of approximately `bytes` bytes.
    pub(crate) async fn encoded_page<T, E: Into<ApiError>>(
        &self,
        bytes: usize,
        read: impl Future<Output = Result<T, E>>,
        encode: impl FnOnce(T) -> Result<Vec<u8>, ApiError>,
    ) -> Result<Bytes, ApiError> {
        let hold = Hold::Bytes(self.reserve(bytes, WaitPolicy::Bounded).await?);
        let reader_permit = self.reader_permit(WaitPolicy::Bounded).await?;
        let text = encode(read.await.map_err(Into::into)?)?;
        drop(reader_permit);
        Ok(held(text, hold))
    }
}

/// Estimates the bytes that records take as events.
fn encoded_bytes(records: &[Arc<CommandRecord>]) -> usize {
    let each = records.iter();
    each.map(|record| record.weight_bytes() + record.wire_events() * ENVELOPE_BYTES)
        .sum()
}

impl Page {
    /// Encodes the records, then releases the reader permit.
    pub(crate) fn encode(
        self,
        encode: impl FnOnce(&[Arc<CommandRecord>]) -> Result<Vec<u8>, ApiError>,
    ) -> Result<(Bytes, Vec<Arc<CommandRecord>>), ApiError> {
        let Self {
            records,
            hold,
            reader_permit,
        } = self;
        let text = encode(&records)?;
        drop(reader_permit);
        Ok((held(text, hold), records))
    }
}

/// Bytes of an answer with the resources that they hold.
struct HeldBytes<T> {
    bytes: Vec<u8>,
    _hold: T,
}

impl<T> AsRef<[u8]> for HeldBytes<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Attaches a reservation to bytes until they are written. The unused part of the reservation is released at once.
fn held(bytes: Vec<u8>, mut hold: Hold) -> Bytes {
    if let Hold::Bytes(reservation) = &mut hold {
        reservation.release(reservation.count().saturating_sub(bytes.len()));
    }
    with_hold(bytes, hold)
}

fn with_hold(bytes: Vec<u8>, hold: impl Send + 'static) -> Bytes {
    Bytes::from_owner(HeldBytes { bytes, _hold: hold })
}

/// Answer that is written piece by piece. A piece is encoded after the connection has taken the piece before.
pub(crate) struct Outlet {
    reading: Reading,
    taken: Arc<Semaphore>,
}

impl Outlet {
    pub(crate) fn new(reading: &Reading) -> Self {
        Self {
            reading: reading.clone(),
            taken: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits until the connection has taken all pieces so far.
    pub(crate) async fn next_permit(&self) -> PiecePermit {
        match Arc::clone(&self.taken).acquire_owned().await {
            Ok(permit) => PiecePermit(permit),
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Encodes the next piece of an answer with a graph, once its bytes are reserved.
    pub(crate) async fn next_piece(&self, pieces: &mut GraphEncoder) -> Option<Bytes> {
        let taken = self.next_permit().await;
        let reserved = self.reading.reserve(PIECE_BYTES, WaitPolicy::Unbounded).await.ok()?;
        let piece = pieces.next_piece(PIECE_BYTES)?;
        Some(taken.attach_to(held(piece, Hold::Bytes(reserved))))
    }
}

/// Permit to send one piece of an answer.
pub(crate) struct PiecePermit(OwnedSemaphorePermit);

impl PiecePermit {
    /// Attaches the permit to bytes: the next piece waits until the connection has taken them.
    pub(crate) fn attach_to(self, bytes: Bytes) -> Bytes {
        struct Piece(
            Bytes,
            #[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit,
        );
        impl AsRef<[u8]> for Piece {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Piece(bytes, self.0))
    }
}

/// Builds a JSON answer.
pub(crate) fn json(bytes: Bytes) -> Response {
    with_type("application/json", Body::from(bytes))
}

/// Builds an answer of a media type.
pub(crate) fn with_type(media_type: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response()
}

/// Answers with a JSON object: the fields of `head`, and the graph as `graph`. A small answer is written at once, a
/// large answer piece by piece as the connection takes it. `document` is the permit of a graph that only this answer
/// holds.
pub(crate) async fn with_graph(
    reading: &Reading,
    head: &(impl Serialize + ?Sized),
    graph: Graph,
    document: Option<Permit>,
) -> Result<Response, ApiError> {
    let mut pieces = GraphEncoder::new(head, graph).map_err(|error| internal(&error))?;
    let reserved = reading.reserve(PIECE_BYTES, WaitPolicy::Bounded).await?;
    let first = pieces.next_piece(PIECE_BYTES).unwrap_or_default();
    let first = held(first, Hold::Bytes(reserved));
    if pieces.is_done() {
        return Ok(json(first));
    }
    let outlet = Outlet::new(reading);
    let first = outlet.next_permit().await.attach_to(first);
    let start = (Some(first), pieces, outlet, document);
    let body = stream::unfold(start, |(first, mut pieces, outlet, document)| async move {
        let piece = match first {
            Some(first) => first,
            None => outlet.next_piece(&mut pieces).await?,
        };
        Some((
            Ok::<_, std::convert::Infallible>(piece),
            (None, pieces, outlet, document),
        ))
    });
    Ok(with_type("application/json", Body::from_stream(body)))
}
