//! Checksums of rows, which detect rows that differ from what was written (P12).
//!
//! SQLite detects a damaged structure, but not a changed letter. CRC-32 detects every burst of up to 32 bits, a flipped
//! bit included, and misses one in 2^32 of all other damage. A checksum covers the session's id, so that a row that
//! appears in another session is detected too.

use crc32fast::Hasher;
use talus_actors::domain::ids::{CommandId, Seq, SessionId};

/// Bits in which the checksum of an undone command differs. The flag is the only column of a row that changes, and
/// flipping bits of the checksum is cheaper than reading the payload again.
pub(super) const UNDONE_MASK: i64 = 0x5aa5_c33c;

/// Checksum of a row of `commands` whose command is not undone.
pub(super) fn of_command(
    session_id: SessionId,
    (first_seq, seq): (Seq, Seq),
    command_id: CommandId,
    version: i64,
    payload: &str,
) -> i64 {
    let mut sum = Hasher::new();
    sum.update(session_id.uuid().as_bytes());
    sum.update(&first_seq.0.to_le_bytes());
    sum.update(&seq.0.to_le_bytes());
    sum.update(command_id.uuid().as_bytes());
    sum.update(&version.to_le_bytes());
    sum.update(payload.as_bytes());
    sum.finalize().into()
}

/// Checksum of a row of `commands` with its flag.
pub(super) const fn with_flag(sum: i64, undone: bool) -> i64 {
    if undone { sum ^ UNDONE_MASK } else { sum }
}

/// Checksum of a row of `snapshots`.
pub(super) fn of_snapshot(session_id: SessionId, seq: Seq, format: i64, data: &[u8]) -> i64 {
    let mut sum = Hasher::new();
    sum.update(session_id.uuid().as_bytes());
    sum.update(&seq.0.to_le_bytes());
    sum.update(&format.to_le_bytes());
    sum.update(data);
    sum.finalize().into()
}

/// Checksum of the constant columns of a row of `sessions`. Each append derives the checksum of the row from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeaderSum(u32);

impl HeaderSum {
    pub(super) fn of(ext_id: &str, created_ms: i64, version: i64, header: &str) -> Self {
        let mut sum = Hasher::new();
        sum.update(ext_id.as_bytes());
        sum.update(&created_ms.to_le_bytes());
        sum.update(&version.to_le_bytes());
        sum.update(header.as_bytes());
        Self(sum.finalize())
    }

    /// Returns the checksum of the row with its changing columns.
    pub(super) fn of_row(self, head_seq: i64, node_count: i64, last_activity_ms: i64) -> i64 {
        let mut sum = Hasher::new_with_initial(self.0);
        sum.update(&head_seq.to_le_bytes());
        sum.update(&node_count.to_le_bytes());
        sum.update(&last_activity_ms.to_le_bytes());
        sum.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// P12: a change of any part of a row changes its checksum.
    #[test]
    fn checksum_covers_each_part_of_a_row() {
        let id = |number| SessionId::new(Uuid::from_u128(number));
        let command = |number| CommandId::new(Uuid::from_u128(number));
        let sums = [
            of_command(id(1), (Seq(1), Seq(2)), command(1), 2, "{}"),
            of_command(id(3), (Seq(1), Seq(2)), command(1), 2, "{}"),
            of_command(id(1), (Seq(3), Seq(2)), command(1), 2, "{}"),
            of_command(id(1), (Seq(1), Seq(3)), command(1), 2, "{}"),
            of_command(id(1), (Seq(1), Seq(2)), command(2), 2, "{}"),
            of_command(id(1), (Seq(1), Seq(2)), command(1), 3, "{}"),
            of_command(id(1), (Seq(1), Seq(2)), command(1), 2, "{ }"),
            with_flag(of_command(id(1), (Seq(1), Seq(2)), command(1), 2, "{}"), true),
            of_snapshot(id(1), Seq(1), 2, b"x"),
            of_snapshot(id(2), Seq(1), 2, b"x"),
            of_snapshot(id(1), Seq(2), 2, b"x"),
            of_snapshot(id(1), Seq(1), 3, b"x"),
            of_snapshot(id(1), Seq(1), 2, b"y"),
            HeaderSum::of("a", 1, 2, "{}").of_row(1, 2, 3),
            HeaderSum::of("b", 1, 2, "{}").of_row(1, 2, 3),
            HeaderSum::of("a", 2, 2, "{}").of_row(1, 2, 3),
            HeaderSum::of("a", 1, 3, "{}").of_row(1, 2, 3),
            HeaderSum::of("a", 1, 2, "{ }").of_row(1, 2, 3),
            HeaderSum::of("a", 1, 2, "{}").of_row(2, 2, 3),
            HeaderSum::of("a", 1, 2, "{}").of_row(1, 3, 3),
            HeaderSum::of("a", 1, 2, "{}").of_row(1, 2, 4),
        ];
        let distinct: std::collections::BTreeSet<_> = sums.iter().collect();
        assert_eq!(distinct.len(), sums.len());
    }
}
