//! Deduplication of commands older than the replay window (P4).
//!
//! Nearly every command is new, and asking the log about each would cost more than all other work on the command except
//! the append. A [`GrowableBloomFilter`] therefore holds the ids of all commands that left the replay window. An id in
//! neither the window nor the filter was never accepted. An id that the filter may contain is looked up in the log
//! ([`super::lookup`]).
//!
//! ```text
//!  a command leaves the window ───────────────▶ filter ──▶ complete? an id that is not in the filter is new
//!  the log of before this actor ── pages of ids ──▲
//! ```
//!
//! An accepted command was either in the log when the actor started, and its id comes with a page, or it passed through
//! the window of this actor, and its id comes from there. Ids that are in a page as well as in the window do no harm.
//! The filter is used only after the last page; before, every id is looked up.
//!
//! Reading of the pages begins with the first command that has to be looked up: a session that is only read loads no
//! page.

use super::{
    bloom_filter::{Full, GrowableBloomFilter},
    machine::{Output, Outputs, SessionMachine},
};
use crate::{domain::ids::CommandId, log::LogError};

/// Ids in a page: 16 kB, read in a fraction of a millisecond. A longer read transaction would delay the log's
/// checkpoints.
const PAGE_IDS: usize = 1_000;

/// Lookups before a failed page is read again. A failing log keeps failing for a while, and the delay costs only time.
const RETRY_LOOKUPS: usize = 64;

/// Deduplication state of a session; see the [module](self).
pub(super) struct Dedup {
    filter: GrowableBloomFilter,
    reading: IdReading,
}

/// Progress of reading the ids from before this actor.
enum IdReading {
    /// All ids are in the filter.
    Complete,
    /// The next page is requested after `lookups` further answered lookups.
    Due { after: Option<CommandId>, lookups: usize },
    /// The request for the page after `after` is in flight.
    InFlight { after: Option<CommandId> },
    /// The session has more ids than the filter can usefully hold.
    Disabled,
}

/// Page of command ids in ascending order, after a given id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdPage {
    after: Option<CommandId>,
}

impl Dedup {
    /// Creates the state of a new session, or of a loaded session whose ids have to be read.
    pub(super) const fn new(window_is_complete: bool, key: u128, bytes_max: usize) -> Self {
        let reading = if window_is_complete {
            IdReading::Complete
        } else {
            IdReading::Due {
                after: None,
                lookups: 0,
            }
        };
        Self {
            filter: GrowableBloomFilter::new(key, bytes_max),
            reading,
        }
    }

    /// Returns true if `command` is certainly not among the commands that left the window.
    pub(super) fn is_new(&self, command: CommandId) -> bool {
        matches!(self.reading, IdReading::Complete) && !self.filter.may_contain(command)
    }

    /// Adds commands that leave the window. Ids are added also while pages are being read, since the pages do not
    /// contain commands that the log did not have yet.
    pub(super) fn extend(&mut self, commands: impl IntoIterator<Item = CommandId>) {
        if matches!(self.reading, IdReading::Disabled) {
            return;
        }
        for command in commands {
            if let Err(Full) = self.filter.insert(command) {
                self.filter.clear();
                self.reading = IdReading::Disabled;
                return;
            }
        }
    }

    /// Returns the approximate memory of the filter in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.filter.bytes()
    }

    /// Counts an answered lookup. Returns the page to request now, if any.
    pub(super) const fn lookup_answered(&mut self) -> Option<IdPage> {
        match &mut self.reading {
            IdReading::Due { after, lookups: 0 } => {
                let after = *after;
                self.reading = IdReading::InFlight { after };
                Some(IdPage { after })
            }
            IdReading::Due { lookups, .. } => {
                *lookups -= 1;
                None
            }
            IdReading::Complete | IdReading::InFlight { .. } | IdReading::Disabled => None,
        }
    }

    /// Adds the ids of a page, or schedules a retry. Returns the next page to request, if any.
    pub(super) fn page_read(&mut self, page: Result<Vec<CommandId>, LogError>) -> Option<IdPage> {
        let IdReading::InFlight { after } = self.reading else {
            return None;
        };
        let Ok(ids) = page else {
            self.reading = IdReading::Due {
                after,
                lookups: RETRY_LOOKUPS,
            };
            return None;
        };
        let next = ids.last().copied().filter(|_| ids.len() == PAGE_IDS);
        self.reading = match next {
            Some(_) => IdReading::InFlight { after: next },
            None => IdReading::Complete,
        };
        self.extend(ids);
        match self.reading {
            IdReading::InFlight { after } => Some(IdPage { after }),
            IdReading::Complete | IdReading::Due { .. } | IdReading::Disabled => None,
        }
    }
}

impl SessionMachine {
    /// Starts or continues to read the ids from before this actor.
    pub(super) fn read_ids(&mut self, outputs: &mut Outputs) {
        outputs.extend(self.dedup.lookup_answered().map(request));
    }

    /// Handles the answer to a page request.
    pub(super) fn page_read(&mut self, page: Result<Option<Vec<CommandId>>, LogError>, outputs: &mut Outputs) {
        let session_id = self.session_id();
        let page = page.and_then(|ids| ids.ok_or_else(|| LogError::Io("there is no log of this session".to_owned())));
        if let Err(error) = &page {
            tracing::warn!(%session_id, %error, "ids of older commands cannot be read, so each command is looked up");
        }
        outputs.extend(self.dedup.page_read(page).map(request));
    }
}

const fn request(page: IdPage) -> Output {
    Output::ReadIds {
        after: page.after,
        max: PAGE_IDS,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const KEY: u128 = 11;
    const BYTES_MAX: usize = 1_048_576;

    fn id(number: u64) -> CommandId {
        CommandId::new(Uuid::from_u64_pair(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number))
    }

    /// Returns a page as the log does.
    fn page(log: &BTreeSet<CommandId>, page: IdPage) -> Vec<CommandId> {
        let beyond = log.iter().filter(|&&id| page.after.is_none_or(|after| id > after));
        beyond.copied().take(PAGE_IDS).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// P4: in any order of accepted commands, pages and failures, an accepted command is never classified as new.
        /// In the end nearly all other ids are known to be new.
        #[test]
        fn accepted_command_is_never_taken_for_new(
            before in 0_u64..3_500,
            // Each step: number of commands that leave the window, whether they reach the log before the next page, and
            // whether the page can be read.
            steps in proptest::collection::vec((0_u64..30, any::<bool>(), proptest::bool::weighted(0.8)), 0..12),
        ) {
            let mut log: BTreeSet<_> = (0..before).map(id).collect();
            let mut accepted = before;
            let mut dedup = Dedup::new(before == 0, KEY, BYTES_MAX);
            let mut asked = dedup.lookup_answered();
            for (more, durable, comes) in steps {
                let new: Vec<_> = (accepted..accepted + more).map(id).collect();
                accepted += more;
                dedup.extend(new.iter().copied());
                if durable {
                    log.extend(new);
                }
                if let Some(wanted) = asked.take() {
                    let answer = if comes { Ok(page(&log, wanted)) } else { Err(LogError::Io(String::new())) };
                    asked = dedup.page_read(answer);
                }
                prop_assert!(!(0..accepted).any(|number| dedup.is_new(id(number))));
            }
            for _ in 0..=RETRY_LOOKUPS {
                asked = asked.or_else(|| dedup.lookup_answered());
            }
            while let Some(wanted) = asked {
                asked = dedup.page_read(Ok(page(&log, wanted)));
            }
            prop_assert!(!(0..accepted).any(|number| dedup.is_new(id(number))));
            let certain = (accepted..accepted + 1_000).filter(|&number| dedup.is_new(id(number))).count();
            prop_assert!(certain > 950, "{} of 1,000 are certain to be new", certain);
        }
    }

    /// A session that started with this actor reads no page and takes no memory before a command leaves the window.
    #[test]
    fn new_session_reads_no_page_and_takes_no_memory() {
        let mut dedup = Dedup::new(true, KEY, BYTES_MAX);
        assert!(dedup.is_new(id(1)));
        assert_eq!((dedup.lookup_answered(), dedup.bytes()), (None, 0));
    }

    /// A page that cannot be read is requested again, from the same id, after a number of lookups. Until then no id is
    /// certain.
    #[test]
    fn failed_page_is_requested_again_later() {
        let log: BTreeSet<_> = (0..1_500).map(id).collect();
        let mut dedup = Dedup::new(false, KEY, BYTES_MAX);
        let first = dedup.lookup_answered().expect("the first page");
        assert_eq!(dedup.lookup_answered(), None, "one page at a time");
        let second = dedup.page_read(Ok(page(&log, first))).expect("the second page");
        assert_eq!(dedup.page_read(Err(LogError::Io(String::new()))), None);
        for _ in 0..RETRY_LOOKUPS {
            assert_eq!(dedup.lookup_answered(), None);
        }
        assert!(!dedup.is_new(id(9_999)));
        assert_eq!(dedup.lookup_answered(), Some(second));
        assert_eq!(dedup.page_read(Ok(page(&log, second))), None);
        assert!(dedup.is_new(id(9_999)) && !dedup.is_new(id(1_499)));
    }

    /// P9: a session with more commands than the filter can hold drops the filter and reads no further page.
    #[test]
    fn filter_is_dropped_at_its_capacity() {
        let log: BTreeSet<_> = (0..5_000).map(id).collect();
        let mut dedup = Dedup::new(false, KEY, 1_024);
        let mut asked = dedup.lookup_answered();
        let mut pages = 0;
        while let Some(wanted) = asked {
            asked = dedup.page_read(Ok(page(&log, wanted)));
            pages += 1;
        }
        assert!(pages < 5, "{pages} pages");
        assert_eq!((dedup.lookup_answered(), dedup.bytes()), (None, 0));
        dedup.extend([id(1)]);
        assert!(!dedup.is_new(id(9_999)), "every command is looked up");
        assert_eq!(dedup.bytes(), 0);
    }
}
