//! Requests to the writer, and their answers.

use talus_actors::{
    domain::{
        command::CommandType,
        ids::{CommandId, Seq, SessionId, Timestamp},
        record::CommandRecord,
        session::SessionHeader,
    },
    log::{Append, AppendCallback, AppendError, LogError},
};
use tokio::sync::oneshot;

use super::Failure;
use crate::storage::{checksum, codec};

/// Request to the writer, with the channel of its answer where there is one.
pub(in crate::storage) enum Request {
    Create(SessionHeader, oneshot::Sender<Result<(), LogError>>),
    Append(Rows),
    Snapshot {
        session_id: SessionId,
        seq: Seq,
        data: Vec<u8>,
        checksum: i64,
    },
    Delete(SessionId, oneshot::Sender<Result<(), LogError>>),
    Close(oneshot::Sender<()>),
}

/// Append with encoded records.
pub(in crate::storage) struct Rows {
    pub(super) session_id: SessionId,
    pub(super) expected: Seq,
    pub(super) rows: Vec<Row>,
    pub(super) node_count: usize,
    pub(super) last_activity: Option<Timestamp>,
    pub(in crate::storage) done: AppendCallback,
}

pub(super) struct Row {
    pub(super) first_seq: Seq,
    pub(super) seq: Seq,
    pub(super) command_id: CommandId,
    pub(super) checksum: i64,
    /// Command that this command undoes (`true`) or redoes (`false`).
    pub(super) turns: Option<(CommandId, bool)>,
    pub(super) payload: String,
}

impl Rows {
    pub(in crate::storage) fn encode(append: Append) -> Result<Self, (AppendCallback, String)> {
        let rows: Result<Vec<Row>, _> = append
            .records
            .iter()
            .map(|record| Row::encode(append.session_id, record))
            .collect();
        match rows {
            Ok(rows) => Ok(Self {
                session_id: append.session_id,
                expected: append.expected,
                rows,
                node_count: append.node_count,
                last_activity: append.records.last().map(|record| record.timestamp),
                done: append.done,
            }),
            Err(error) => Err((append.done, error.to_string())),
        }
    }
}

impl Row {
    fn encode(session_id: SessionId, recorded: &CommandRecord) -> Result<Self, serde_json::Error> {
        let turns = recorded.target.and_then(|target| match recorded.command_type {
            CommandType::Undo => Some((target.command_id, true)),
            CommandType::Redo => Some((target.command_id, false)),
            _ => None,
        });
        let payload = codec::encode_record(recorded)?;
        let (first_seq, seq, command_id) = (recorded.first_seq, recorded.seq(), recorded.command_id);
        let version = codec::SCHEMA_VERSION;
        Ok(Self {
            first_seq,
            seq,
            command_id,
            checksum: checksum::of_command(session_id, (first_seq, seq), command_id, version, &payload),
            turns,
            payload,
        })
    }

    const fn events(&self) -> u64 {
        self.seq.0 - self.first_seq.0 + 1
    }
}

/// Outcome of a request in a committed group.
pub(super) enum Verdict {
    Done,
    Conflict { expected: Seq, actual: Seq },
    NoSuchLog,
    Exists,
}

impl Request {
    /// Returns the session that the request deletes.
    pub(super) const fn deletes(&self) -> Option<SessionId> {
        match self {
            Self::Delete(session_id, _) => Some(*session_id),
            Self::Create(..) | Self::Append(_) | Self::Snapshot { .. } | Self::Close(_) => None,
        }
    }

    pub(super) fn weight(&self) -> (usize, usize) {
        match self {
            Self::Create(..) | Self::Delete(..) => (1, 1_024),
            Self::Append(rows) => {
                let events = rows.rows.iter().map(Row::events).sum::<u64>();
                let bytes = rows.rows.iter().map(|row| row.payload.len()).sum();
                (usize::try_from(events).unwrap_or(usize::MAX), bytes)
            }
            Self::Snapshot { data, .. } => (1, data.len()),
            Self::Close(_) => (0, 0),
        }
    }

    pub(super) fn answer(self, verdict: Verdict) {
        match (self, verdict) {
            (Self::Create(header, reply), Verdict::Exists) => {
                let _ = reply.send(Err(LogError::Exists(header.session_id)));
            }
            (Self::Create(_, reply) | Self::Delete(_, reply), _) => {
                let _ = reply.send(Ok(()));
            }
            (Self::Append(rows), verdict) => rows.done.tell(match verdict {
                Verdict::Done => Ok(()),
                Verdict::Conflict { expected, actual } => Err(AppendError::Conflict { expected, actual }),
                Verdict::NoSuchLog | Verdict::Exists => Err(AppendError::NoSuchLog),
            }),
            (Self::Snapshot { .. } | Self::Close(_), _) => {}
        }
    }

    pub(super) fn fail(self, failure: &Failure) {
        match self {
            Self::Create(_, reply) | Self::Delete(_, reply) => {
                let _ = reply.send(Err(LogError::Io(failure.text().to_owned())));
            }
            Self::Append(rows) => rows.done.tell(Err(match failure {
                Failure::Refused(reason) => AppendError::Refused(reason.clone()),
                Failure::Failed(reason) | Failure::Fatal(reason) => AppendError::Io(reason.clone()),
            })),
            Self::Snapshot { session_id, .. } => {
                tracing::warn!(%session_id, failure = failure.text(), "a snapshot was not kept");
            }
            Self::Close(_) => {}
        }
    }
}
