//! The hash of a graph, by which a client proves that its replica is the hub's (P6).
//!
//! The sum, modulo 2^64, of the hashes of the graph's *records*: one for what each node is, one for its place, one for
//! each of its properties. A sum can be kept: what a change takes away is subtracted, what it puts there is added, and
//! nothing else of the graph is looked at. Order is part of it without positions, which would change for all siblings
//! behind: a place names the sibling before it.
//!
//! `docs/PROTOCOL.md` is the specification, with test vectors; clients in other languages are written after it. The
//! hash finds accidents. It does not withstand somebody who makes two graphs of one hash on purpose.

mod canonical;

use std::{
    fmt,
    ops::{AddAssign, SubAssign},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::canonical::Canonical;
use super::{
    graph::NodeContent,
    ids::{NodeId, PropertyId},
    value::Value,
};

/// The hash of a graph or of one of its records; 0 for an empty graph.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StateHash(u64);

/// Why a text is not a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a state hash (16 lowercase hexadecimal digits)")]
pub struct NotAHash;

impl StateHash {
    /// Wraps the number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The record of what a node is, apart from its place and its properties.
    #[must_use]
    pub fn of_node(id: NodeId, content: &NodeContent) -> Self {
        let mut record = Record::of("node", id);
        record.0.next().text(content.type_id.as_str());
        record.0.next().text(&content.name);
        record.end()
    }

    /// The record of where a node is: under which parent, right behind which sibling.
    #[must_use]
    pub fn of_place(id: NodeId, parent: Option<NodeId>, previous: Option<NodeId>) -> Self {
        let mut record = Record::of("place", id);
        record.0.next().id(parent);
        record.0.next().id(previous);
        record.end()
    }

    /// The record of a property.
    #[must_use]
    pub fn of_property(id: NodeId, property: &PropertyId, value: &Value) -> Self {
        let mut record = Record::of("property", id);
        record.0.next().text(property.as_str());
        record.0.next().value(value);
        record.end()
    }

    /// All that a node is apart from its place: its own record and those of its properties.
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
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let digits = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 16 || !digits(text) {
            return Err(NotAHash);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NotAHash)
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

/// A record, hashed as it is written: a JSON array that begins with its kind and the node.
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

/// FNV-1a of 64 bits: a line in any language, and as good as others once [`Self::finish`] has mixed it.
struct Fnv(u64);

impl Fnv {
    const BEGIN: Self = Self(0xcbf2_9ce4_8422_2325);
    const PRIME: u64 = 0x100_0000_01b3;

    /// The finalizer of MurmurHash3. The last bytes of a text reach few bits of an FNV hash, and sums of hashes that
    /// differ in few bits collide easily; after it each bit depends on all.
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
