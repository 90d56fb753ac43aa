//! Crash states: disk contents that a power cut at a given moment allows.
//!
//! Between two flushes the last moment is the worst: the most writes are unflushed, and the most commands are
//! acknowledged. Therefore the moments are just before a flush begins, and just before and just after the flush ends.
//! Each moment has systematic states ([`Class`]): all unflushed changes absent or present, writes up to or from each
//! write, each write alone or alone missing, each write torn, and random sectors.

use std::collections::BTreeMap;

use super::{
    disk::{Disk, Part},
    trace::Call,
};
use crate::clients::Random;

/// Random states of a moment that has unflushed writes.
const RANDOM_STATES: usize = 4;

/// Kinds of crash states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// No unflushed change is on the disk, names included.
    Absent,
    /// All unflushed changes are on the disk.
    Present,
    /// All writes are on the disk, with the old names.
    OldNames,
    /// The new names are on the disk, without the writes.
    NewNames,
    /// Writes before a given write.
    Prefix,
    /// Writes from a given write on.
    Suffix,
    /// A single write.
    Alone,
    /// All writes but one.
    Missing,
    /// Writes before a given write, and random sectors of that write.
    Torn,
    /// Random sectors of all writes.
    Random,
}

/// A crash state at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub class: Class,
    /// Index of an unflushed write, or of a random state.
    pub index: usize,
}

impl State {
    /// Returns every systematic state of a disk by class, in the order in which a test examines them. The writes of
    /// different files alternate, so that a file with many writes does not come first.
    fn all(disk: &Disk, moment: usize) -> impl Iterator<Item = (Class, Vec<Self>)> {
        let order = round_robin(disk.unflushed_by_file(), moment);
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

    /// Returns the files that the power cut leaves.
    pub fn files(self, disk: &Disk, moment: usize) -> Files {
        let numbers = disk.unflushed();
        let at = numbers.get(self.index).copied().unwrap_or(usize::MAX);
        // Prefix and suffix begin behind the first write, because all writes together are a class of their own.
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

/// Merges lists round-robin, each list in random order. The first list depends on the moment.
fn round_robin(mut lists: Vec<Vec<usize>>, moment: usize) -> Vec<usize> {
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

/// File contents by path.
pub type Files = BTreeMap<std::path::PathBuf, Vec<u8>>;

/// Crash states to examine, by moment.
#[derive(Debug, Default)]
pub struct Plan {
    pub moments: usize,
    /// States that the recorded flushes allow, by class.
    pub allowed: BTreeMap<Class, usize>,
    pub chosen: BTreeMap<usize, Vec<State>>,
}

impl Plan {
    /// Chooses up to `states_max` states, as equally over the classes as their sizes allow. The states of a class are
    /// spread evenly over the moments, whichever number of states a moment has, and then over the files with unflushed
    /// writes.
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
            // The first state of each moment, then the second of each moment that has two, and so on.
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
    /// Call that is about to be applied.
    Call(&'a Call),
    /// Moment, with its number.
    Moment(usize, &'a Disk),
}

/// Replays a trace on an empty disk. No moment falls into the first `settled` calls.
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
