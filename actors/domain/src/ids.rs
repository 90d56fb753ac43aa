//! A type per kind of identifier, so that the compiler tells a node id from a session id.
//!
//! Session, node and command ids are UUIDs. They are parsed from the hyphenated form in either case and written in
//! lower case. Other spellings that the `uuid` crate accepts (braces, URN, no hyphens) are refused, so that an id has
//! one spelling on the wire and in a file name.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use ecow::EcoString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// Reason for which a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not a hyphenated UUID.
    #[error("{0:?} is not a UUID (8-4-4-4-12 hexadecimal digits)")]
    NotAUuid(String),
    /// The text is not eight hexadecimal digits.
    #[error("{0:?} is not an epoch (8 lowercase hexadecimal digits)")]
    NotAnEpoch(String),
    /// The text is not a project id.
    #[error("{0:?} is not a project id (1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or a digit)")]
    NotAProjectId(String),
    /// The text is not a client id.
    #[error("{0:?} is not a client id (1 to 64 of A-Z, a-z, 0-9, '_' and '-')")]
    NotAClientId(String),
    /// The text is not a template id.
    #[error("{0:?} is not a template id (1 to 64 of A-Z, a-z, 0-9, '_', '-' and '.', not beginning with a '.')")]
    NotATemplateId(String),
}

/// Parses a UUID in the only spelling that the protocol allows.
fn parse_uuid(text: &str) -> Result<Uuid, IdError> {
    if text.len() == uuid::fmt::Hyphenated::LENGTH
        && let Ok(uuid) = Uuid::try_parse(text)
    {
        return Ok(uuid);
    }
    Err(IdError::NotAUuid(shorten(text)))
}

/// Truncates a text for an error message, because a client may have sent megabytes.
fn shorten(text: &str) -> String {
    const QUOTED_CHARS_MAX: usize = 80;
    text.chars().take(QUOTED_CHARS_MAX).collect()
}

macro_rules! text_form {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(Uuid);

        /// Orders ids by their bytes. Compares them as 128-bit integers, because comparing bytes calls a function, and
        /// a lookup in a map of ids consists mostly of comparisons.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.as_u128().cmp(&other.0.as_u128())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// Wraps a UUID of any version.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Returns the wrapped UUID.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_uuid(text).map(Self)
            }
        }

        text_form!($name);
    };
}

uuid_id! {
    /// Id of a session: one live project with one graph, one history and one log.
    SessionId
}
uuid_id! {
    /// Id of a node, unique within its session.
    NodeId
}
uuid_id! {
    /// Id of a command, chosen by the client or else by the hub. Unique within its session (P4).
    CommandId
}

impl CommandId {
    /// Returns the id of the `ordinal`-th node that the command creates without a given id.
    ///
    /// Derived instead of random, so that deciding needs no randomness. A retry of the command after a crash yields the
    /// same ids.
    #[must_use]
    pub fn node(self, ordinal: u32) -> NodeId {
        NodeId(Uuid::new_v5(&self.0, &ordinal.to_be_bytes()))
    }
}

/// Identity of a session's log. Survives restarts and crashes, and changes only if the log is replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u32);

impl Epoch {
    /// Wraps a number, which the caller draws at random when a log begins.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns the wrapped number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Epoch {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 8
            && digits
            && let Ok(number) = u32::from_str_radix(text, 16)
        {
            return Ok(Self(number));
        }
        Err(IdError::NotAnEpoch(shorten(text)))
    }
}

text_form!(Epoch);

/// Position of an event in its session's log: 1, 2, 3 … without gaps (P1). 0 stands before the first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Position before the first event.
    pub const ZERO: Self = Self(0);

    /// Returns the position `count` events later. Saturates at the maximum, which no session reaches but a damaged log
    /// may claim.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Time in milliseconds since 1970-01-01T00:00:00Z. RFC 3339 with milliseconds and `Z` on the wire.
///
/// The domain reads no clock. Times arrive with each command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // jiff supports the years -9999 to 9999. No clock returns a time outside, so the nearest limit is shown.
        let moment = jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        });
        write!(f, "{moment:.3}")
    }
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $error:ident, $first:expr, $rest:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Maximal length, in characters.
            pub const CHARS_MAX: usize = 64;

            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let first: fn(u8) -> bool = $first;
                let rest: fn(u8) -> bool = $rest;
                let fits = (1..=Self::CHARS_MAX).contains(&text.len())
                    && text.bytes().next().is_some_and(first)
                    && text.bytes().skip(1).all(rest);
                if fits { Ok(Self(text.into())) } else { Err(IdError::$error(shorten(text))) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        text_form!($name);
    };
}

name_id! {
    /// Id of a project, its slug. Unique in a hub, and the name of the project's file without the extension.
    ProjectId, NotAProjectId,
    |b| b.is_ascii_lowercase() || b.is_ascii_digit(),
    |b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_')
}
name_id! {
    /// Id of a client, chosen by the client or else generated by the hub. Stable across reconnects.
    ClientId, NotAClientId,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'),
    |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')
}
name_id! {
    /// Id of a template, the name of its file without the extension. A name, never a path.
    TemplateId, NotATemplateId,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'),
    |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')
}

macro_rules! shared_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(EcoString);

        impl $name {
            /// Wraps a text without validation.
            pub fn new(text: impl Into<EcoString>) -> Self {
                Self(text.into())
            }

            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

shared_text! {
    /// Type of a node: the template's uuid in a session with a template, or else any non-empty text.
    TypeId
}
shared_text! {
    /// Property of a node: the template's uuid in a session with a template, or else any non-empty text.
    PropertyId
}

impl PropertyId {
    /// Property that stands for the node's name. Setting it renames the node.
    pub const NAME: &'static str = "name";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_one_spelling() {
        let text = "67E55044-10B1-426F-9247-BB680E5FE0C8";
        let id: NodeId = text.parse().expect("upper case is accepted");
        assert_eq!(id.to_string(), text.to_lowercase());
        for other in [
            "67e5504410b1426f9247bb680e5fe0c8",
            "{67e55044-10b1-426f-9247-bb680e5fe0c8}",
            "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
            "",
            "67e55044-10b1-426f-9247-bb680e5fe0cg",
        ] {
            assert_eq!(other.parse::<NodeId>(), Err(IdError::NotAUuid(other.into())), "{other}");
        }
    }

    proptest::proptest! {
        /// Stored maps and lists are sorted by the bytes of the ids, so the order must not change.
        #[test]
        fn ids_are_ordered_by_bytes(one: [u8; 16], other: [u8; 16], same in 0_usize..16) {
            let other: [u8; 16] = std::array::from_fn(|at| if at < same { one[at] } else { other[at] });
            let ids = [one, other].map(|bytes| NodeId::new(Uuid::from_bytes(bytes)));
            proptest::prop_assert_eq!(ids[0].cmp(&ids[1]), one.cmp(&other));
        }
    }

    #[test]
    fn epoch_is_eight_lowercase_digits() {
        assert_eq!(Epoch::new(0xbeef).to_string(), "0000beef");
        assert_eq!("0000beef".parse(), Ok(Epoch::new(0xbeef)));
        for other in ["0000BEEF", "beef", "+000beef", "0000beefa"] {
            assert!(other.parse::<Epoch>().is_err(), "{other}");
        }
    }

    #[test]
    fn name_ids_reject_paths() {
        for path in ["..", "../x", "a/b", ".hidden", "", "a b", "ä"] {
            assert!(path.parse::<TemplateId>().is_err(), "{path}");
            assert!(path.parse::<ProjectId>().is_err(), "{path}");
        }
        assert!("restomod.v2".parse::<TemplateId>().is_ok());
        assert!(
            "Bronco".parse::<ProjectId>().is_err(),
            "slugs are lower case: file systems may fold it"
        );
    }

    #[test]
    fn timestamp_formats_as_rfc_3339_with_milliseconds() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(1_700_000_000_050).to_string(), "2023-11-14T22:13:20.050Z");
        assert_eq!(Timestamp(i64::MAX).to_string(), "9999-12-30T22:00:00.999Z");
    }

    #[test]
    fn derived_node_ids_differ_by_command_and_ordinal() {
        let a: CommandId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().expect("a uuid");
        let b: CommandId = "67e55044-10b1-426f-9247-bb680e5fe0c9".parse().expect("a uuid");
        assert_eq!(a.node(0), a.node(0));
        assert_ne!(a.node(0), a.node(1));
        assert_ne!(a.node(0), b.node(0));
    }
}
