//! Ids of commands that say which command it is and when it was meant to start.
//!
//! Whoever sees an event can so tell its latency without asking the sender, also if the sender is late: counting from
//! the *intended* start is what keeps a stall of the server from hiding the commands that had to wait for it.
//!
//! ```text
//!  start, ns, 48 bits │ 4 │ session, 12 bits │ variant │ run, 14 bits │ index, 48 bits
//! ```

use std::time::Duration;

use uuid::Uuid;

/// The most sessions that have a number of their own.
pub const SESSIONS_MAX: u16 = 1 << 12;

const INDEX_BITS: u32 = 48;
const RUN_BITS: u32 = 14;
const START_BITS: u32 = 48;
const SESSION_AT: u32 = 64;
const START_AT: u32 = 80;
/// What makes it a UUID of version 4, which is what servers may insist on.
const FORM: u128 = (0x4 << 76) | (0b10 << 62);

/// A command of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// When it was meant to start, after the beginning of the run.
    pub start: Duration,
    /// The number of its session.
    pub session: u16,
    /// Its number in the session.
    pub index: u64,
}

impl Ticket {
    /// The id of the command in the run of that seed.
    #[must_use]
    pub fn id(&self, seed: u64) -> Uuid {
        let start = self.start.as_nanos() & mask(START_BITS);
        let index = u128::from(self.index) & mask(INDEX_BITS);
        let session = u128::from(self.session % SESSIONS_MAX);
        Uuid::from_u128((start << START_AT) | FORM | (session << SESSION_AT) | (run(seed) << INDEX_BITS) | index)
    }

    /// The command of an id; `None` if it is not of the run of that seed.
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
