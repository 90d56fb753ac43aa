//! What a session forgot: the commands that only the log knows (P4).
//!
//! Nearly every command is new, and asking the log about each costs more than all that is done for it beside the append.
//! So a [`Filter`] has the ids of all commands that left the window. What is neither in the window nor in the filter was
//! never accepted. What may be in the filter is looked up, as before ([`super::lookup`]).
//!
//! ```text
//!  a command leaves the window ───────────────▶ filter ──▶ complete? an id that it has not is new
//!  the log of before this actor ── pages of ids ──▲
//! ```
//!
//! Whatever is accepted was either in the log when the actor began, and comes with a page, or went through this actor's
//! window, and comes from there. That a page may have ids which the window still has, too, does no harm. Until the last
//! page has come the filter is of no use, and every id is looked up.
//!
//! Reading begins with the first command that had to be looked up: a session that is only looked at reads nothing.

use ractor::ActorRef;

use super::{
    SessionMessage, SessionState,
    filter::{Filter, Full},
};
use crate::{domain::ids::CommandId, log::LogError};

/// Ids in a page: 16 kB, read in a fraction of a millisecond. A reader that is at it for long would keep the log from
/// being tidied.
const PAGE_IDS: usize = 1_000;

/// Lookups that are answered before a page that could not be read is tried again. Failures of a log last for a while,
/// and until then nothing is lost but time.
const RETRY_LOOKUPS: usize = 64;

/// See the [module](self).
pub(super) struct Forgotten {
    filter: Filter,
    reading: Reading,
}

/// How far the ids of before this actor have been read.
enum Reading {
    /// They are in the filter.
    Complete,
    /// The next page is to be asked for when so many more lookups were answered.
    Due { after: Option<CommandId>, lookups: usize },
    /// The next page is asked for.
    UnderWay { after: Option<CommandId> },
    /// There are more ids than a filter is of use with.
    GivenUp,
}

/// The ids of a session that come after one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    after: Option<CommandId>,
}

impl Forgotten {
    /// What a session forgot that begins now, or one whose log is still to be read.
    pub(super) const fn new(remembers_everything: bool, key: u128, bytes_max: usize) -> Self {
        let reading = if remembers_everything {
            Reading::Complete
        } else {
            Reading::Due {
                after: None,
                lookups: 0,
            }
        };
        Self {
            filter: Filter::new(key, bytes_max),
            reading,
        }
    }

    /// Whether it is certain that the session never forgot such a command.
    pub(super) fn has_not(&self, command: CommandId) -> bool {
        matches!(self.reading, Reading::Complete) && !self.filter.may_contain(command)
    }

    /// These are not remembered any more. Also to be told while the log is read: what the log has not, yet, is not in its
    /// pages.
    pub(super) fn extend(&mut self, commands: impl IntoIterator<Item = CommandId>) {
        if matches!(self.reading, Reading::GivenUp) {
            return;
        }
        for command in commands {
            if let Err(Full) = self.filter.insert(command) {
                self.filter.clear();
                self.reading = Reading::GivenUp;
                return;
            }
        }
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.filter.bytes()
    }

    /// A lookup was answered. The page that is to be asked for now, if one is.
    pub(super) const fn lookup_answered(&mut self) -> Option<Page> {
        match &mut self.reading {
            Reading::Due { after, lookups: 0 } => {
                let after = *after;
                self.reading = Reading::UnderWay { after };
                Some(Page { after })
            }
            Reading::Due { lookups, .. } => {
                *lookups -= 1;
                None
            }
            Reading::Complete | Reading::UnderWay { .. } | Reading::GivenUp => None,
        }
    }

    /// A page came, or did not. The next one that is to be asked for, if there is one.
    pub(super) fn page_read(&mut self, page: Result<Vec<CommandId>, LogError>) -> Option<Page> {
        let Reading::UnderWay { after } = self.reading else {
            return None;
        };
        let Ok(ids) = page else {
            self.reading = Reading::Due {
                after,
                lookups: RETRY_LOOKUPS,
            };
            return None;
        };
        let next = ids.last().copied().filter(|_| ids.len() == PAGE_IDS);
        self.reading = match next {
            Some(_) => Reading::UnderWay { after: next },
            None => Reading::Complete,
        };
        self.extend(ids);
        match self.reading {
            Reading::UnderWay { after } => Some(Page { after }),
            Reading::Complete | Reading::Due { .. } | Reading::GivenUp => None,
        }
    }
}

impl SessionState {
    /// Reads on, or begins to, what the session forgot before this actor.
    pub(super) fn read_forgotten(&mut self, myself: &ActorRef<SessionMessage>) {
        if let Some(page) = self.forgotten.lookup_answered() {
            self.ask_page(myself, page);
        }
    }

    /// A page came, or did not.
    pub(super) fn page_read(
        &mut self,
        myself: &ActorRef<SessionMessage>,
        page: Result<Option<Vec<CommandId>>, LogError>,
    ) {
        let session_id = self.session.genesis().session_id;
        let page = page.and_then(|ids| ids.ok_or_else(|| LogError::Io("there is no log of this session".to_owned())));
        if let Err(error) = &page {
            tracing::warn!(%session_id, %error, "ids of older commands cannot be read now; each is looked up");
        }
        if let Some(page) = self.forgotten.page_read(page) {
            self.ask_page(myself, page);
        }
    }

    fn ask_page(&self, myself: &ActorRef<SessionMessage>, page: Page) {
        let session_id = self.session.genesis().session_id;
        let asked = self.resources.log.command_ids(session_id, page.after, PAGE_IDS);
        let myself = myself.clone();
        tokio::spawn(async move {
            // An actor that is gone needs none; its successor reads for itself.
            let _ = myself.cast(SessionMessage::IdsRead(asked.await));
        });
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

    /// A page as a log gives it.
    fn page(log: &BTreeSet<CommandId>, page: Page) -> Vec<CommandId> {
        let beyond = log.iter().filter(|&&id| page.after.is_none_or(|after| id > after));
        beyond.copied().take(PAGE_IDS).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// P4: at no time, however commands are accepted and pages come or fail, is a command that was accepted taken for
        /// one that was not; and in the end those that were not are known to be new.
        #[test]
        fn what_was_accepted_is_never_taken_for_new(
            before in 0_u64..3_500,
            // How many commands are accepted and forgotten, and how many of them reach the log, before a page comes; and
            // whether it does.
            steps in proptest::collection::vec((0_u64..30, any::<bool>(), proptest::bool::weighted(0.8)), 0..12),
        ) {
            let mut log: BTreeSet<_> = (0..before).map(id).collect();
            let mut accepted = before;
            let mut forgotten = Forgotten::new(before == 0, KEY, BYTES_MAX);
            let mut asked = forgotten.lookup_answered();
            for (more, durable, comes) in steps {
                let new: Vec<_> = (accepted..accepted + more).map(id).collect();
                accepted += more;
                forgotten.extend(new.iter().copied());
                if durable {
                    log.extend(new);
                }
                if let Some(wanted) = asked.take() {
                    let answer = if comes { Ok(page(&log, wanted)) } else { Err(LogError::Io(String::new())) };
                    asked = forgotten.page_read(answer);
                }
                prop_assert!(!(0..accepted).any(|number| forgotten.has_not(id(number))));
            }
            for _ in 0..=RETRY_LOOKUPS {
                asked = asked.or_else(|| forgotten.lookup_answered());
            }
            while let Some(wanted) = asked {
                asked = forgotten.page_read(Ok(page(&log, wanted)));
            }
            prop_assert!(!(0..accepted).any(|number| forgotten.has_not(id(number))));
            let certain = (accepted..accepted + 1_000).filter(|&number| forgotten.has_not(id(number))).count();
            prop_assert!(certain > 950, "{} of 1,000 are certain", certain);
        }
    }

    /// A session that began with this actor has nothing to read, and takes no memory before it forgets.
    #[test]
    fn a_young_session_reads_nothing_and_takes_nothing() {
        let mut forgotten = Forgotten::new(true, KEY, BYTES_MAX);
        assert!(forgotten.has_not(id(1)));
        assert_eq!((forgotten.lookup_answered(), forgotten.bytes()), (None, 0));
    }

    /// A page that cannot be read is tried again, from the same place, after a number of lookups; until then nothing is
    /// certain.
    #[test]
    fn a_page_that_fails_is_tried_again_later() {
        let log: BTreeSet<_> = (0..1_500).map(id).collect();
        let mut forgotten = Forgotten::new(false, KEY, BYTES_MAX);
        let first = forgotten.lookup_answered().expect("the first page");
        assert_eq!(forgotten.lookup_answered(), None, "one at a time");
        let second = forgotten.page_read(Ok(page(&log, first))).expect("the second page");
        assert_eq!(forgotten.page_read(Err(LogError::Io(String::new()))), None);
        for _ in 0..RETRY_LOOKUPS {
            assert_eq!(forgotten.lookup_answered(), None);
        }
        assert!(!forgotten.has_not(id(9_999)));
        assert_eq!(forgotten.lookup_answered(), Some(second));
        assert_eq!(forgotten.page_read(Ok(page(&log, second))), None);
        assert!(forgotten.has_not(id(9_999)) && !forgotten.has_not(id(1_499)));
    }

    /// P9: a session with more commands than the filter is of use for has none, and reads no further.
    #[test]
    fn too_many_commands_are_given_up() {
        let log: BTreeSet<_> = (0..5_000).map(id).collect();
        let mut forgotten = Forgotten::new(false, KEY, 1_024);
        let mut asked = forgotten.lookup_answered();
        let mut pages = 0;
        while let Some(wanted) = asked {
            asked = forgotten.page_read(Ok(page(&log, wanted)));
            pages += 1;
        }
        assert!(pages < 5, "{pages} pages");
        assert_eq!((forgotten.lookup_answered(), forgotten.bytes()), (None, 0));
        forgotten.extend([id(1)]);
        assert!(!forgotten.has_not(id(9_999)), "everything is looked up");
        assert_eq!(forgotten.bytes(), 0);
    }
}
