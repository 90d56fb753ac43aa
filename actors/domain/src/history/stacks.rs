//! Stacks of done and undone steps.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::{
    command::AuthorKey,
    ids::{CommandId, Seq},
};

/// Steps that can be undone and steps that can be redone.
///
/// There is one history, in which each step belongs to its author. An undo of either scope removes a step from the done
/// stack, and a redo inserts the step at its old place. An undo and its redo therefore leave the stacks as they were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredStacks", into = "StoredStacks")]
pub struct Stacks {
    /// Done steps in the order of the log.
    pub(super) done: VecDeque<Step>,
    undone: UndoneSteps,
    /// True after the limits have evicted a step. A log that was written under higher limits contains undos of steps
    /// beyond the eviction.
    pub(super) has_evicted: bool,
    /// Newest step that was evicted while it was done. An older step that is redone is evicted at once. The done stack
    /// is thus always a suffix of the stack under higher limits, so a log has the same meaning under all limits.
    pub(super) evicted_through: Seq,
}

/// Undone steps in the order in which they were undone.
///
/// A new command of an author drops the author's undone steps. The second index finds them without a scan of the other
/// authors' steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct UndoneSteps {
    steps: BTreeMap<Seq, Step>,
    by_author: BTreeMap<Option<AuthorKey>, VecDeque<Seq>>,
    /// First `seq` of the newest step. Steps that were undone before it can be redone only by their authors.
    session_from: Seq,
}

/// Serialized form in snapshots. The next step of each stack is the last.
#[derive(Serialize, Deserialize)]
struct StoredStacks {
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

impl From<StoredStacks> for Stacks {
    fn from(stored: StoredStacks) -> Self {
        let mut undone = UndoneSteps {
            session_from: stored.session_redo_from,
            ..UndoneSteps::default()
        };
        for (place, step) in (0..).zip(stored.redo) {
            // Steps undone before records of undos were kept come first, and there are fewer of them than events.
            let at = step.undone_by().map_or(Seq(place), |undo| undo.first_seq);
            undone.insert(at, step);
        }
        Self {
            done: stored.undo,
            undone,
            has_evicted: stored.has_forgotten,
            evicted_through: stored.forgotten_through,
        }
    }
}

impl From<Stacks> for StoredStacks {
    fn from(stacks: Stacks) -> Self {
        Self {
            undo: stacks.done,
            redo: stacks.undone.steps.into_values().collect(),
            has_forgotten: stacks.has_evicted,
            session_redo_from: stacks.undone.session_from,
            forgotten_through: stacks.evicted_through,
        }
    }
}

impl Stacks {
    pub(super) fn find_done(&self, command_id: CommandId) -> Option<&Step> {
        self.done.iter().rfind(|step| step.is_of_command(command_id))
    }

    pub(super) fn find_undone(&self, command_id: CommandId) -> Option<&Step> {
        self.undone().rfind(|step| step.is_of_command(command_id))
    }

    /// Returns the done step whose record begins at `first_seq`.
    pub(super) fn done_at(&mut self, first_seq: Seq) -> Option<&mut Step> {
        let position = self.done.partition_point(|step| step.first_seq() < first_seq);
        self.done.get_mut(position).filter(|step| step.first_seq() == first_seq)
    }

    /// Removes and returns a done step.
    pub(super) fn take_done(&mut self, command_id: CommandId) -> Option<Step> {
        let position = self.done.iter().rposition(|step| step.is_of_command(command_id))?;
        self.done.remove(position)
    }

    /// Inserts a step at its old place in the log's order.
    pub(super) fn put_done(&mut self, step: Step) {
        let position = self.done.partition_point(|other| other.first_seq() < step.first_seq());
        self.done.insert(position, step);
    }

    /// Inserts a step that was undone at `at`.
    pub(super) fn put_undone(&mut self, at: Seq, step: Step) {
        self.undone.insert(at, step);
    }

    /// Removes and returns an undone step.
    pub(super) fn take_undone(&mut self, command_id: CommandId) -> Option<Step> {
        let mut newest_first = self.undone.steps.iter().rev();
        let at = newest_first
            .find(|(_, step)| step.is_of_command(command_id))
            .map(|(at, _)| *at)?;
        self.undone.remove(at)
    }

    /// Removes and returns the step that was undone the longest ago.
    pub(super) fn take_oldest_undone(&mut self) -> Option<Step> {
        let at = *self.undone.steps.keys().next()?;
        self.undone.remove(at)
    }

    /// Removes and returns the undone steps that a new command of an author invalidates: all of the author's steps, and
    /// all steps without an author, which any client could redo.
    pub(super) fn take_invalidated(&mut self, author: Option<&AuthorKey>, new_from: Seq) -> Vec<Step> {
        self.undone.session_from = new_from;
        let mut invalidated = self.undone.remove_all(&None);
        if author.is_some() {
            invalidated.extend(self.undone.remove_all(&author.cloned()));
        }
        invalidated
    }

    /// Returns the undone steps in the order in which they were undone.
    pub(super) fn undone(&self) -> impl DoubleEndedIterator<Item = &Step> {
        self.undone.steps.values()
    }

    pub(super) fn undone_len(&self) -> usize {
        self.undone.steps.len()
    }

    /// Returns the undone steps that the session can redo, in the order in which they were undone.
    pub(super) fn session_undone(&self) -> impl DoubleEndedIterator<Item = &Step> {
        let steps = self.undone.steps.range(self.undone.session_from..);
        steps.map(|(_, step)| step)
    }

    /// Returns the author's step that was undone last.
    pub(super) fn last_undone_of(&self, author: &AuthorKey) -> Option<&Step> {
        let of_author = self.undone.by_author.get(&Some(author.clone()))?;
        self.undone.steps.get(of_author.back()?)
    }
}

impl UndoneSteps {
    fn insert(&mut self, at: Seq, step: Step) {
        let of_author = self.by_author.entry(step.author_key()).or_default();
        let position = of_author.partition_point(|other| *other < at);
        of_author.insert(position, at);
        self.steps.insert(at, step);
    }

    fn remove(&mut self, at: Seq) -> Option<Step> {
        let step = self.steps.remove(&at)?;
        let author = step.author_key();
        if let Some(of_author) = self.by_author.get_mut(&author) {
            // The step is the first or the last of its author's steps, except in a corrupt log.
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

    fn remove_all(&mut self, author: &Option<AuthorKey>) -> Vec<Step> {
        let places = self.by_author.remove(author).unwrap_or_default();
        places.iter().filter_map(|at| self.steps.remove(at)).collect()
    }
}
