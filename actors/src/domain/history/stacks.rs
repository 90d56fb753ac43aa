//! The steps themselves: those that are done, and those that are undone.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::domain::{
    command::Author,
    ids::{CommandId, Seq},
};

/// What can be undone and what can be redone.
///
/// There is one history, in which each step belongs to its author. What is undone is out of it, whoever undid it, and
/// what is redone is back in its old place: so an undo and its redo leave the stacks as they were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Stacks {
    /// In the order of the log.
    pub(super) done: VecDeque<Step>,
    undone: Undone,
    /// Whether the limits have cost a step. A log that was written under higher ones goes on undoing beyond it.
    pub(super) has_forgotten: bool,
    /// The newest step that was forgotten while it was done. What is older and comes back is forgotten with it: what is
    /// done is always the end of what would be under higher limits, so a log means the same under all of them.
    pub(super) forgotten_through: Seq,
}

/// Undone steps, in the order in which they were undone. A new command of an author forgets what that author had
/// undone, and must not look at the others' for it: hence the second index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Undone {
    steps: BTreeMap<Seq, Step>,
    by_author: BTreeMap<Option<Author>, VecDeque<Seq>>,
    /// Where the last new step begins. What was undone before it is redone by its author only.
    session_from: Seq,
}

/// The stacks as snapshots keep them, the next step of each last.
#[derive(Serialize, Deserialize)]
struct Stored {
    undo: VecDeque<Step>,
    redo: Vec<Step>,
    #[serde(default)]
    has_forgotten: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    session_redo_from: Seq,
    #[serde(default, skip_serializing_if = "is_zero")]
    forgotten_through: Seq,
}

fn is_zero(seq: &Seq) -> bool {
    *seq == Seq::ZERO
}

impl From<Stored> for Stacks {
    fn from(stored: Stored) -> Self {
        let mut undone = Undone {
            session_from: stored.session_redo_from,
            ..Undone::default()
        };
        for (place, step) in (0..).zip(stored.redo) {
            // Steps that were undone before the undo was kept come first, and there are fewer of them than events.
            let at = step.undone_by().map_or(Seq(place), |undo| undo.first_seq);
            undone.insert(at, step);
        }
        Self {
            done: stored.undo,
            undone,
            has_forgotten: stored.has_forgotten,
            forgotten_through: stored.forgotten_through,
        }
    }
}

impl From<Stacks> for Stored {
    fn from(stacks: Stacks) -> Self {
        Self {
            undo: stacks.done,
            redo: stacks.undone.steps.into_values().collect(),
            has_forgotten: stacks.has_forgotten,
            session_redo_from: stacks.undone.session_from,
            forgotten_through: stacks.forgotten_through,
        }
    }
}

impl Stacks {
    pub(super) fn find_done(&self, command_id: CommandId) -> Option<&Step> {
        self.done.iter().rfind(|step| step.is(command_id))
    }

    pub(super) fn find_undone(&self, command_id: CommandId) -> Option<&Step> {
        self.undone().rfind(|step| step.is(command_id))
    }

    /// The step that is done and begins at a place of the log.
    pub(super) fn done_at(&mut self, first_seq: Seq) -> Option<&mut Step> {
        let position = self.done.partition_point(|step| step.first_seq() < first_seq);
        self.done.get_mut(position).filter(|step| step.first_seq() == first_seq)
    }

    /// Takes a step that is done out of the history.
    pub(super) fn take_done(&mut self, command_id: CommandId) -> Option<Step> {
        let position = self.done.iter().rposition(|step| step.is(command_id))?;
        self.done.remove(position)
    }

    /// Puts a step back into its old place.
    pub(super) fn put_done(&mut self, step: Step) {
        let position = self.done.partition_point(|other| other.first_seq() < step.first_seq());
        self.done.insert(position, step);
    }

    /// Adds a step that was undone at a place of the log.
    pub(super) fn put_undone(&mut self, at: Seq, step: Step) {
        self.undone.insert(at, step);
    }

    /// Takes an undone step out.
    pub(super) fn take_undone(&mut self, command_id: CommandId) -> Option<Step> {
        let mut newest_first = self.undone.steps.iter().rev();
        let at = newest_first.find(|(_, step)| step.is(command_id)).map(|(at, _)| *at)?;
        self.undone.remove(at)
    }

    /// Takes out the step that was undone the longest ago.
    pub(super) fn take_oldest_undone(&mut self) -> Option<Step> {
        let at = *self.undone.steps.keys().next()?;
        self.undone.remove(at)
    }

    /// Takes out what an author had undone: all of it, for a new command of theirs comes after it. Steps of nobody were
    /// anybody's to redo, and whoever does something new goes on without them.
    pub(super) fn take_overtaken(&mut self, author: Option<&Author>, new_from: Seq) -> Vec<Step> {
        self.undone.session_from = new_from;
        let mut overtaken = self.undone.remove_all(&None);
        if author.is_some() {
            overtaken.extend(self.undone.remove_all(&author.cloned()));
        }
        overtaken
    }

    /// The undone steps, in the order in which they were undone.
    pub(super) fn undone(&self) -> impl DoubleEndedIterator<Item = &Step> {
        self.undone.steps.values()
    }

    pub(super) fn undone_len(&self) -> usize {
        self.undone.steps.len()
    }

    /// The undone steps that the session can redo, in the order in which they were undone.
    pub(super) fn session_undone(&self) -> impl DoubleEndedIterator<Item = &Step> {
        let steps = self.undone.steps.range(self.undone.session_from..);
        steps.map(|(_, step)| step)
    }

    /// The last step of an author that was undone.
    pub(super) fn last_undone_of(&self, author: &Author) -> Option<&Step> {
        let of_author = self.undone.by_author.get(&Some(author.clone()))?;
        self.undone.steps.get(of_author.back()?)
    }
}

impl Undone {
    fn insert(&mut self, at: Seq, step: Step) {
        let of_author = self.by_author.entry(step.author()).or_default();
        let position = of_author.partition_point(|other| *other < at);
        of_author.insert(position, at);
        self.steps.insert(at, step);
    }

    fn remove(&mut self, at: Seq) -> Option<Step> {
        let step = self.steps.remove(&at)?;
        let author = step.author();
        if let Some(of_author) = self.by_author.get_mut(&author) {
            // It is the first or the last of its author's, but for a log that makes no sense.
            if of_author.front() == Some(&at) {
                of_author.pop_front();
            } else {
                of_author.retain(|other| *other != at);
            }
            if of_author.is_empty() {
                self.by_author.remove(&author);
            }
        }
        Some(step)
    }

    fn remove_all(&mut self, author: &Option<Author>) -> Vec<Step> {
        let places = self.by_author.remove(author).unwrap_or_default();
        places.iter().filter_map(|at| self.steps.remove(at)).collect()
    }
}
