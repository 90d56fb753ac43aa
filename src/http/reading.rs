//! Reads in bounds: how many are at work at one time, and how many bytes of their answers wait to be written.
//!
//! ```text
//!  GET graph, open, …  ──────────────▶ a piece of the graph ──▶ the socket took it ──▶ the next piece
//!  events, history, streams, log ──▶ a turn: a page from the log, encoded ──▶ the socket took it ──▶ the next page
//!  at_seq, project files, load, save ──▶ a place for one document of their own, until the answer is written
//! ```
//!
//! A piece or page reserves its bytes before it is made, and holds them until the connection has written it or is gone.
//! So a client that reads nothing costs one piece, whatever it asked for, and commands do not wait for it (P9). Nothing
//! waits for more while it holds something: what turns out to be larger than its reservation is let go, and read again
//! under a larger one.

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
        recorded::Recorded,
    },
    hub::Hub,
    log::PageMax,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    budget::{ByteBudget, Reservation},
    config,
    wire::{
        error::{Failure, internal},
        graph::WithGraph,
    },
};

/// Bytes of a piece of a graph: what one answer has in memory at one time. Small enough for a thousand answers, large
/// enough for a system call.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// Bytes of records in a page that a stream reads, as the log keeps them.
pub(crate) const STREAM_PAGE: PageMax = PageMax {
    items: 256,
    bytes: 16 * 1024,
};

/// Bytes of records in a page that is asked for, as the log keeps them. A page that would have more is short.
pub(crate) const PAGE_BYTES: usize = 256 * 1024;

/// How much larger a page may be as events than as the log keeps it, before it is read again under a reservation of its
/// own size.
const GROWTH: usize = 4;

/// What the envelope of an event takes, about, with what a stream adds.
const ENVELOPE_BYTES: usize = 512;

/// A page that is larger as events does not take its bytes from the budget of all answers, but one of the few places for
/// documents: it is a single command that loads a graph, or a very large batch.
const LARGE_BYTES: usize = 1024 * 1024;

/// Bounds of reading, shared by its clones.
#[derive(Debug, Clone)]
pub struct Reading {
    bytes: ByteBudget,
    readers: Places,
    documents: Places,
    wait: Duration,
}

/// Places of which each is taken by one at a time.
#[derive(Debug, Clone)]
struct Places {
    free: Arc<Semaphore>,
    limit: &'static str,
    max: usize,
}

/// Place in [`Reading`] for one that is at work, or for a document; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit);

/// What an answer holds until it is written.
#[derive(Debug)]
pub(crate) enum Hold {
    /// Its bytes, of those that all answers have together.
    Bytes(Reservation),
    /// A place for a document, if it is large.
    Document(#[expect(dead_code, reason = "held until it is dropped")] Place),
}

/// Whether a reader waits for its place for as long as it takes, or is refused after a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Waits: a stream that goes on later.
    Endless,
    /// Is refused after `rest.reading_wait_ms`: a request that has had no answer yet.
    Bounded,
}

/// Records of a page, with what they hold, and the turn in which they are to be encoded.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) records: Vec<Arc<Recorded>>,
    hold: Hold,
    turn: Place,
}

impl Places {
    fn new(limit: &'static str, max: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(max)),
            limit,
            max,
        }
    }

    async fn take(&self) -> Place {
        match Arc::clone(&self.free).acquire_owned().await {
            Ok(permit) => Place(permit),
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Reading {
    /// Bounds as set up.
    #[must_use]
    pub fn new(config: &config::Rest) -> Self {
        Self {
            bytes: ByteBudget::new(config.reading_bytes_max),
            readers: Places::new("readers_max", config.readers_max),
            documents: Places::new("documents_max", config.documents_max),
            wait: config.reading_wait(),
        }
    }

    /// Bytes that answers hold now.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.bytes.max() - self.bytes.free()
    }

    /// Documents that readers have for themselves now.
    #[must_use]
    pub fn documents_held(&self) -> usize {
        self.documents.max - self.documents.free.available_permits()
    }

    /// Reserves bytes of an answer.
    pub(crate) async fn reserve(&self, bytes: usize, patience: Patience) -> Result<Reservation, Failure> {
        let reserved = self.bytes.reserve(bytes);
        self.patiently(patience, "reading_bytes_max", self.bytes.max(), reserved)
            .await
    }

    /// Takes a place for a document that a reader has for itself.
    pub(crate) async fn document(&self, patience: Patience) -> Result<Place, Failure> {
        let Places { limit, max, .. } = self.documents;
        self.patiently(patience, limit, max, self.documents.take()).await
    }

    async fn turn(&self, patience: Patience) -> Result<Place, Failure> {
        let Places { limit, max, .. } = self.readers;
        self.patiently(patience, limit, max, self.readers.take()).await
    }

    async fn patiently<T>(
        &self,
        patience: Patience,
        limit: &'static str,
        max: usize,
        waited: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        if patience == Patience::Endless {
            return Ok(waited.await);
        }
        tokio::time::timeout(self.wait, waited).await.map_err(|_| {
            let message = format!("readers take as much as {limit} allows, which is {max}");
            Failure::new("OVERLOADED", message)
                .with("limit", limit)
                .with("max", max)
        })
    }

    /// Reads the records after a place, and holds what they take as events.
    pub(crate) async fn page(
        &self,
        hub: &Hub,
        session_id: SessionId,
        after: Seq,
        max: PageMax,
        patience: Patience,
    ) -> Result<Page, Failure> {
        let mut reserved = max.bytes.saturating_mul(GROWTH);
        let mut hold = Hold::Bytes(self.reserve(reserved, patience).await?);
        loop {
            let turn = self.turn(patience).await?;
            let records = hub.events_after(session_id, after, max).await?;
            let bytes = encoded_bytes(&records);
            if bytes <= reserved || matches!(hold, Hold::Document(_)) {
                return Ok(Page { records, hold, turn });
            }
            drop((records, turn, hold));
            hold = if bytes <= LARGE_BYTES {
                reserved = bytes;
                Hold::Bytes(self.reserve(bytes, patience).await?)
            } else {
                Hold::Document(self.document(patience).await?)
            };
        }
    }

    /// Reads a page of something else, of about so many bytes.
    pub(crate) async fn other_page<T, E: Into<Failure>>(
        &self,
        bytes: usize,
        read: impl Future<Output = Result<T, E>>,
        encode: impl FnOnce(T) -> Result<Vec<u8>, Failure>,
    ) -> Result<Bytes, Failure> {
        let hold = Hold::Bytes(self.reserve(bytes, Patience::Bounded).await?);
        let turn = self.turn(Patience::Bounded).await?;
        let text = encode(read.await.map_err(Into::into)?)?;
        drop(turn);
        Ok(held(text, hold))
    }
}

/// About how many bytes records take as events.
fn encoded_bytes(records: &[Arc<Recorded>]) -> usize {
    let each = records.iter();
    each.map(|record| record.weight_bytes() + record.len_on_wire() * ENVELOPE_BYTES)
        .sum()
}

impl Page {
    /// Encodes the records, and lets the next reader have its turn.
    pub(crate) fn encode(
        self,
        encode: impl FnOnce(&[Arc<Recorded>]) -> Result<Vec<u8>, Failure>,
    ) -> Result<(Bytes, Vec<Arc<Recorded>>), Failure> {
        let Self { records, hold, turn } = self;
        let text = encode(&records)?;
        drop(turn);
        Ok((held(text, hold), records))
    }
}

/// Bytes of an answer, and what they hold.
struct Held<T> {
    bytes: Vec<u8>,
    _hold: T,
}

impl<T> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that hold what was reserved for them until they are written; what they did not need is given back.
fn held(bytes: Vec<u8>, mut hold: Hold) -> Bytes {
    if let Hold::Bytes(reservation) = &mut hold {
        reservation.release(reservation.bytes().saturating_sub(bytes.len()));
    }
    with_hold(bytes, hold)
}

fn with_hold(bytes: Vec<u8>, hold: impl Send + 'static) -> Bytes {
    Bytes::from_owner(Held { bytes, _hold: hold })
}

/// Answer of one piece at a time. The next piece is made when the connection has taken the one before.
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

    /// Waits until the connection has taken everything before.
    pub(crate) async fn taken(&self) -> Taken {
        match Arc::clone(&self.taken).acquire_owned().await {
            Ok(permit) => Taken(permit),
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Makes the next piece of an answer with a graph, when there is room for it.
    pub(crate) async fn next_piece(&self, pieces: &mut WithGraph) -> Option<Bytes> {
        let taken = self.taken().await;
        let reserved = self.reading.reserve(PIECE_BYTES, Patience::Endless).await.ok()?;
        let piece = pieces.next_piece(PIECE_BYTES)?;
        Some(taken.holding(held(piece, Hold::Bytes(reserved))))
    }
}

/// Turn of a piece in its answer.
pub(crate) struct Taken(OwnedSemaphorePermit);

impl Taken {
    /// Makes bytes the piece that has to be taken before the next.
    pub(crate) fn holding(self, bytes: Bytes) -> Bytes {
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

/// JSON of an answer.
pub(crate) fn json(bytes: Bytes) -> Response {
    with_type("application/json", Body::from(bytes))
}

/// Answer of a media type.
pub(crate) fn with_type(media_type: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response()
}

/// Answers with a JSON object: the fields of `head`, and the graph as `graph`. A small one is written at once, a large
/// one piece by piece as the connection takes it. `document` is the place of a graph that this answer alone has.
pub(crate) async fn with_graph(
    reading: &Reading,
    head: &(impl Serialize + ?Sized),
    graph: Graph,
    document: Option<Place>,
) -> Result<Response, Failure> {
    let mut pieces = WithGraph::new(head, graph).map_err(|error| internal(&error))?;
    let reserved = reading.reserve(PIECE_BYTES, Patience::Bounded).await?;
    let first = pieces.next_piece(PIECE_BYTES).unwrap_or_default();
    let first = held(first, Hold::Bytes(reserved));
    if pieces.is_done() {
        return Ok(json(first));
    }
    let outlet = Outlet::new(reading);
    let first = outlet.taken().await.holding(first);
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
