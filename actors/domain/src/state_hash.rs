//! Hash of a graph, with which a client verifies its replica (P6).
//!
//! The hash is the sum, modulo 2^64, of the hashes of the graph's *records*: for each node one for its content, one for
//! its place, and one for each of its properties. A sum can be updated: each change subtracts removed records and adds
//! new records, without a visit of the rest of the graph. A place names the preceding sibling. Order is thereby part of
//! the hash without indices, which would change for all later siblings.
//!
//! `docs/PROTOCOL.md` is the specification, with test vectors for clients in other languages. The hash detects
//! accidental differences. It does not resist deliberate collisions.

mod canonical;

use std::{
    fmt,
    ops::{AddAssign, SubAssign},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::canonical::Canonical;
use super::{
    content::NodeContent,
    ids::{NodeId, PropertyId},
    value::Value,
};

/// Hash of a graph or of one of its records. 0 for an empty graph.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StateHash(u64);

/// Error for a text that is not a state hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a state hash (16 lowercase hexadecimal digits)")]
pub struct ParseStateHashError;

impl StateHash {
    /// Wraps a hash that was computed before.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Hashes the record of a node's name and type.
    #[must_use]
    pub fn of_node(id: NodeId, content: &NodeContent) -> Self {
        let mut record = Record::of("node", id);
        record.0.next().text(content.type_id.as_str());
        record.0.next().text(&content.name);
        record.end()
    }

    /// Hashes the record of a node's place: its parent and the preceding sibling.
    #[must_use]
    pub fn of_place(id: NodeId, parent: Option<NodeId>, previous: Option<NodeId>) -> Self {
        let mut record = Record::of("place", id);
        record.0.next().id(parent);
        record.0.next().id(previous);
        record.end()
    }

    /// Hashes the record of a property.
    #[must_use]
    pub fn of_property(id: NodeId, property: &PropertyId, value: &Value) -> Self {
        let mut record = Record::of("property", id);
        record.0.next().text(property.as_str());
        record.0.next().value(value);
        record.end()
    }

    /// Hashes a node's content: the sum of its own record and the records of its properties.
    #[must_use]
    pub fn of_content(id: NodeId, content: &NodeContent) -> Self {
        let mut sum = Self::of_node(id, content);
        for (property, value) in content.properties.iter() {
            sum += Self::of_property(id, property, value);
        }
        sum
    }
}

impl AddAssign for StateHash {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

impl SubAssign for StateHash {
    fn sub_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_sub(other.0);
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StateHash {
    type Err = ParseStateHashError;

    fn from_str(text: &str) -> Result<Self, ParseStateHashError> {
        let digits = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 16 || !digits(text) {
            return Err(ParseStateHashError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| ParseStateHashError)
    }
}

impl Serialize for StateHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StateHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Record that is hashed while it is written: a JSON array that begins with the record's kind and the node's id.
struct Record(Canonical<Fnv>);

impl Record {
    fn of(kind: &str, id: NodeId) -> Self {
        let mut out = Canonical::new(Fnv::BEGIN);
        out.raw("[").text(kind);
        out.next().id(Some(id));
        Self(out)
    }

    fn end(mut self) -> StateHash {
        self.0.raw("]");
        self.0.into_inner().finish()
    }
}

/// 64-bit FNV-1a: one line in any language, and as good as other hashes after the mixing in [`Self::finish`].
struct Fnv(u64);

impl Fnv {
    const BEGIN: Self = Self(0xcbf2_9ce4_8422_2325);
    const PRIME: u64 = 0x100_0000_01b3;

    /// Applies the finalizer of MurmurHash3. The last bytes of a text affect few bits of an FNV hash, and sums of
    /// hashes that differ in few bits collide easily. After the finalizer each bit depends on all others.
    const fn finish(self) -> StateHash {
        let mut hash = self.0;
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^= hash >> 33;
        StateHash(hash)
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(Self::PRIME);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
