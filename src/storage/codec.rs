//! Encoding of payloads and snapshots, and upcasting of payloads that an older hub wrote.

use std::{io, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use talus_actors::{
    domain::{
        record::CommandRecord,
        session::{SessionHeader, Snapshot},
    },
    log::LogError,
};

/// Version of written payloads. An incompatible change of a stored type increments the version and adds a step to
/// [`upcast`].
pub(super) const SCHEMA_VERSION: i64 = 2;

/// First version whose rows have a checksum. Older rows have the same form without a checksum.
pub(super) const CHECKED_VERSION: i64 = 2;

/// Format of written snapshots. A snapshot of another format is skipped, because the records have the same content.
pub(super) const SNAPSHOT_FORMAT: i64 = 2;

/// Format of snapshots without a checksum, otherwise equal to [`SNAPSHOT_FORMAT`].
pub(super) const UNCHECKED_SNAPSHOT_FORMAT: i64 = 1;

/// Converts a payload to [`SCHEMA_VERSION`], one version at a time.
fn upcast(version: i64, payload: Json) -> Result<Json, LogError> {
    match version {
        1 | SCHEMA_VERSION => Ok(payload),
        other => Err(LogError::Corrupt(format!(
            "a payload has version {other}, and this hub knows up to {SCHEMA_VERSION}"
        ))),
    }
}

fn decode<T: DeserializeOwned>(version: i64, payload: &str) -> Result<T, LogError> {
    let corrupt = |error: serde_json::Error| LogError::Corrupt(format!("a payload cannot be read: {error}"));
    if matches!(version, 1 | SCHEMA_VERSION) {
        return serde_json::from_str(payload).map_err(corrupt);
    }
    let old = serde_json::from_str(payload).map_err(corrupt)?;
    serde_json::from_value(upcast(version, old)?).map_err(corrupt)
}

pub(super) fn encode_record(recorded: &CommandRecord) -> Result<String, serde_json::Error> {
    serde_json::to_string(recorded)
}

pub(super) fn decode_record(version: i64, payload: &str) -> Result<Arc<CommandRecord>, LogError> {
    decode(version, payload).map(Arc::new)
}

pub(super) fn encode_header(header: &SessionHeader) -> Result<String, serde_json::Error> {
    serde_json::to_string(header)
}

pub(super) fn decode_header(version: i64, payload: &str) -> Result<SessionHeader, LogError> {
    decode(version, payload)
}

/// Encodes and compresses a snapshot, most of whose JSON text is field names.
pub(super) fn encode_snapshot(snapshot: &Snapshot) -> io::Result<Vec<u8>> {
    let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
    serde_json::to_writer(&mut writer, snapshot)?;
    writer.finish().map_err(io::Error::other)
}

pub(super) fn decode_snapshot(data: &[u8]) -> io::Result<Snapshot> {
    let reader = io::BufReader::new(lz4_flex::frame::FrameDecoder::new(data));
    let snapshot: Snapshot = serde_json::from_reader(reader)?;
    if snapshot.is_intact() {
        return Ok(snapshot);
    }
    let text = format!(
        "the graph of the snapshot at {} has another hash than it says",
        snapshot.seq
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}
