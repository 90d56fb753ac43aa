//! Command ids that contain the number of the command and its intended start.
//!
//! A receiver of an event can compute its latency without communication with the sender. The latency counts from the
//! *intended* start, even if the sender is late: otherwise a stall of the server would hide the commands that had to
//! wait (coordinated omission).
//!
//! ```text
//!  start, ns, 48 bits │ 4 │ session, 12 bits │ variant │ run, 14 bits │ index, 48 bits
//! ```

use std::time::Duration;

use uuid::Uuid;

/// Maximum number of sessions: the session number has 12 bits.
pub const SESSIONS_MAX: u16 = 1 << 12;

const INDEX_BITS: u32 = 48;
const RUN_BITS: u32 = 14;
const START_BITS: u32 = 48;
const SESSION_AT: u32 = 64;
const START_AT: u32 = 80;
/// Version and variant bits of a UUID of version 4, which servers may require.
const FORM: u128 = (0x4 << 76) | (0b10 << 62);

/// Identity of a command in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Intended start, relative to the start of the run.
    pub start: Duration,
    /// Number of the session.
    pub session: u16,
    /// Index of the command in its session.
    pub index: u64,
}

impl Ticket {
    /// Returns the id of the command in the run with this seed.
    #[must_use]
    pub fn id(&self, seed: u64) -> Uuid {
        let start = self.start.as_nanos() & mask(START_BITS);
        let index = u128::from(self.index) & mask(INDEX_BITS);
        let session = u128::from(self.session % SESSIONS_MAX);
        Uuid::from_u128((start << START_AT) | FORM | (session << SESSION_AT) | (run(seed) << INDEX_BITS) | index)
    }

    /// Parses an id. `None`: the id is not from the run with this seed.
    #[must_use]
    pub fn read(id: &str, seed: u64) -> Option<Self> {
        let id = id.parse::<Uuid>().ok()?.as_u128();
        let ours = (id >> INDEX_BITS) & mask(RUN_BITS) == run(seed);
        let ticket = Self {
            start: Duration::from_nanos(u64::try_from(id >> START_AT).ok()?),
            session: u16::try_from((id >> SESSION_AT) & u128::from(SESSIONS_MAX - 1)).ok()?,
            index: u64::try_from(id & mask(INDEX_BITS)).ok()?,
        };
        ours.then_some(ticket)
    }
}

const fn mask(bits: u32) -> u128 {
    (1 << bits) - 1
}

fn run(seed: u64) -> u128 {
    u128::from(seed) & mask(RUN_BITS)
}
