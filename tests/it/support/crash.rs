//! Crash states: contents of a disk that a power cut allows at a moment.
//!
//! Between two flushes the last moment is the worst: most is unflushed, and most is acknowledged. Therefore the moments
//! are those just before a flush begins and just before and after it ends. Each moment has systematic states
//! ([`Class`]): everything that is not flushed is gone or there, up to or from each write, each write alone or alone
//! missing, torn within each write, and random sectors.

use std::collections::BTreeMap;

use super::{
    disk::{Disk, Part},
    trace::Call,
};
use crate::clients::Random;

/// Random states at a moment that has unflushed writes.
const RANDOM_STATES: usize = 4;

/// Kinds of crash states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing that is not flushed is there, names included.
    Absent,
    /// Everything is there.
    Present,
    /// Writes are there, and names as before.
    OldNames,
    /// Names are there, and no writes.
    NewNames,
    /// Writes before one.
    Prefix,
    /// Writes from one on.
    Suffix,
    /// One write.
    Alone,
    /// All but one write.
    Missing,
    /// Writes before one, and random sectors of that one.
    Torn,
    /// Random sectors of all writes.
    Random,
}

/// A crash state at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub class: Class,
    /// Index of a write among the unflushed ones, or of a random state.
    pub index: usize,
}

impl State {
    /// Every systematic state that a disk has.
    fn all(disk: &Disk) -> impl Iterator<Item = Self> {
        let writes = disk.unflushed().len();
        let (any, names) = (usize::from(writes > 0), usize::from(disk.has_unflushed_names()));
        let counts = [
            (Class::Absent, 1),
            (Class::Present, any.max(names)),
            (Class::OldNames, any * names),
            (Class::NewNames, any * names),
            (Class::Prefix, writes.saturating_sub(1)),
            (Class::Suffix, writes.saturating_sub(1)),
            (Class::Alone, writes),
            (Class::Missing, writes),
            (Class::Torn, writes),
            (Class::Random, any * RANDOM_STATES),
        ];
        let states = |(class, count)| (0..count).map(move |index| Self { class, index });
        counts.into_iter().flat_map(states)
    }

    /// The files that it leaves.
    pub fn files(self, disk: &Disk, moment: usize) -> Files {
        let numbers = disk.unflushed();
        let at = numbers.get(self.index).copied().unwrap_or(usize::MAX);
        // Prefix and suffix begin behind the first write: the whole is a class by itself.
        let behind = numbers.get(self.index + 1).copied().unwrap_or(usize::MAX);
        let mut random = Random::new((moment * 64 + self.class as usize) as u64);
        for _ in 0..self.index {
            random.below(2);
        }
        disk.after_power_cut(|part| match (self.class, part) {
            (Class::Absent | Class::OldNames, Part::Name) | (Class::Absent | Class::NewNames, Part::Sector { .. }) => {
                false
            }
            (Class::Present | Class::NewNames, Part::Name)
            | (Class::Present | Class::OldNames, Part::Sector { .. }) => true,
            (Class::Prefix, Part::Sector { change }) => change < behind,
            (Class::Suffix, Part::Sector { change }) => change >= behind,
            (Class::Alone, Part::Sector { change }) => change == at,
            (Class::Missing, Part::Sector { change }) => change != at,
            (Class::Torn, Part::Sector { change }) if change != at => change < at,
            (_, Part::Name) | (Class::Torn | Class::Random, Part::Sector { .. }) => random.below(2) == 0,
        })
    }
}

/// Files with their contents.
pub type Files = BTreeMap<std::path::PathBuf, Vec<u8>>;

/// Crash states to be looked at, by moment.
#[derive(Debug, Default)]
pub struct Plan {
    pub moments: usize,
    /// States that the recorded flushes allow, by class.
    pub allowed: BTreeMap<Class, usize>,
    pub chosen: BTreeMap<usize, Vec<State>>,
}

impl Plan {
    /// Takes up to `states_max` states, the same number of each class as far as there are, spread evenly over the trace.
    pub fn of(calls: &[Call], settled: usize, states_max: usize) -> Self {
        let (mut plan, mut all) = (Self::default(), BTreeMap::<_, Vec<_>>::new());
        replay(calls, settled, |step| {
            let Step::Moment(moment, disk) = step else { return };
            plan.moments = moment + 1;
            for state in State::all(disk) {
                all.entry(state.class).or_default().push((moment, state));
            }
        });
        let (mut left, mut classes) = (states_max, all.len());
        let mut by_count: Vec<_> = all.into_iter().collect();
        by_count.sort_by_key(|(_, states)| states.len());
        for (class, states) in by_count {
            plan.allowed.insert(class, states.len());
            let count = states.len().min(left / classes);
            for index in 0..count {
                let (moment, state) = states[index * states.len() / count];
                plan.chosen.entry(moment).or_default().push(state);
            }
            left -= count;
            classes -= 1;
        }
        plan
    }
}

/// A step of a replay.
pub enum Step<'a> {
    /// A call that is about to be applied.
    Call(&'a Call),
    /// A moment with its number.
    Moment(usize, &'a Disk),
}

/// Replays a trace on an empty disk. During the first `settled` calls the power stays.
pub fn replay(calls: &[Call], settled: usize, mut visit: impl FnMut(Step<'_>)) {
    let (mut disk, mut moment, mut changed) = (Disk::default(), 0, false);
    let mut look = |disk: &Disk, visit: &mut dyn FnMut(Step<'_>)| {
        visit(Step::Moment(moment, disk));
        moment += 1;
    };
    for (index, call) in calls.iter().enumerate() {
        if index < settled {
            disk.apply(call);
            continue;
        }
        let flushes = matches!(call, Call::BeginsFlush { .. } | Call::EndsFlush { .. });
        if flushes && changed {
            look(&disk, &mut visit);
        }
        changed = !flushes;
        visit(Step::Call(call));
        disk.apply(call);
        if matches!(call, Call::EndsFlush { .. }) {
            look(&disk, &mut visit);
        }
    }
    look(&disk, &mut visit);
}
