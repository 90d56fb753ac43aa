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
    /// Every systematic state that a disk has, those of a class in the order in which they are looked at: writes of one
    /// file and another in turn, whichever has more of them.
    fn all(disk: &Disk, moment: usize) -> impl Iterator<Item = (Class, Vec<Self>)> {
        let order = in_turn(disk.unflushed_by_file(), moment);
        let writes = order.len();
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
        counts.into_iter().map(move |(class, count)| {
            let of_writes = matches!(
                class,
                Class::Prefix | Class::Suffix | Class::Alone | Class::Missing | Class::Torn
            );
            let indexes = if of_writes { order.clone() } else { (0..count).collect() };
            let indexes = indexes.into_iter().filter(|index| *index < count);
            (class, indexes.map(|index| Self { class, index }).collect())
        })
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

/// One of each list and another of each until there are no more, each list in random order. Moments begin with different
/// lists.
fn in_turn(mut lists: Vec<Vec<usize>>, moment: usize) -> Vec<usize> {
    let mut random = Random::new(moment as u64);
    for list in &mut lists {
        for index in (1..list.len()).rev() {
            let other = random.below(index + 1);
            list.swap(index, other);
        }
    }
    if !lists.is_empty() {
        let first = moment % lists.len();
        lists.rotate_left(first);
    }
    let longest = lists.iter().map(Vec::len).max().unwrap_or_default();
    let turns = (0..longest).flat_map(|turn| lists.iter().filter_map(move |list| list.get(turn)));
    turns.copied().collect()
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
    /// Takes up to `states_max` states, the same number of each class as far as there are. They are spread evenly over the
    /// moments, however many states a moment has, then over the files that a moment has unflushed writes of.
    pub fn of(calls: &[Call], settled: usize, states_max: usize) -> Self {
        let (mut plan, mut all) = (Self::default(), BTreeMap::<_, Vec<_>>::new());
        replay(calls, settled, |step| {
            let Step::Moment(moment, disk) = step else { return };
            plan.moments = moment + 1;
            for (class, states) in State::all(disk, moment).filter(|(_, states)| !states.is_empty()) {
                all.entry(class).or_default().push((moment, states));
            }
        });
        let (mut left, mut classes) = (states_max, all.len());
        let mut by_count: Vec<_> = all.into_iter().collect();
        let states_of = |moments: &Vec<(usize, Vec<State>)>| moments.iter().map(|(_, states)| states.len()).sum();
        by_count.sort_by_key(|(_, moments)| -> usize { states_of(moments) });
        for (class, mut moments) in by_count {
            let allowed = states_of(&moments);
            plan.allowed.insert(class, allowed);
            let count = allowed.min(left / classes);
            let mut missing = count;
            // The first of each moment, then the second of each that has one, and so on.
            for turn in 0.. {
                moments.retain(|(_, states)| states.len() > turn);
                let taken = missing.min(moments.len());
                for index in 0..taken {
                    let (moment, states) = &moments[index * moments.len() / taken];
                    plan.chosen.entry(*moment).or_default().push(states[turn]);
                }
                missing -= taken;
                if missing == 0 {
                    break;
                }
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
