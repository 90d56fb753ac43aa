//! Undo and redo: one history, folded from the log like everything else. It is never rewritten; taking a command back is
//! a command of its own, whose events are the inverse ones.
//!
//! ```text
//!              ┌────── an undo, of whichever scope: out of its place ──────┐
//!              │                                                           ▼
//!   done   a1  b1  a2  b2  a3                                    undone   b3  a4
//!              ▲                                                           │
//!              └────── a redo: back into its old place ────────────────────┘
//! ```
//!
//! Each step belongs to its author. An undo of the session takes the last step that is done, an undo of one's own the
//! last of one's own; a redo the last undone one of the session, or of one's own. So the steps of an author are always
//! undone from the last to the first, and redone the other way.
//!
//! Which changes an undo comes to is decided on the document as it is then ([`super::decide`]), since others may have
//! gone on from what the step left.

mod intent;
mod stacks;
mod step;
mod writers;

use std::sync::Arc;

pub(in crate::domain) use self::{
    intent::{Form, Intent},
    writers::{Places, Slot},
};
pub use self::{stacks::Stacks, step::Step};
use super::{
    command::{Author, CommandType, Scope},
    event::Document,
    ids::Seq,
    limits::Limits,
    recorded::{Recorded, Target},
};

/// The stacks, held to their limits.
#[derive(Debug, Default, PartialEq)]
pub struct History {
    stacks: Stacks,
    weight_bytes: usize,
}

impl History {
    /// The history that had these stacks.
    #[must_use]
    pub fn restore(stacks: Stacks) -> Self {
        let weight_bytes = stacks.done.iter().chain(stacks.undone()).map(Step::weight_bytes).sum();
        Self { stacks, weight_bytes }
    }

    /// The steps themselves.
    #[must_use]
    pub const fn stacks(&self) -> &Stacks {
        &self.stacks
    }

    /// The step that an undo of the session would take back.
    #[must_use]
    pub fn next_undo(&self) -> Option<&Step> {
        self.stacks.done.back()
    }

    /// The step that a redo of the session would do again.
    #[must_use]
    pub fn next_redo(&self) -> Option<&Step> {
        self.stacks.session_undone().next_back()
    }

    /// The step that an author's undo of their own would take back (U1).
    #[must_use]
    pub fn next_undo_of(&self, author: &Author) -> Option<&Step> {
        let mut newest_first = self.stacks.done.iter().rev();
        newest_first.find(|step| step.author().as_ref() == Some(author))
    }

    /// The step that an author's redo of their own would do again (U1).
    #[must_use]
    pub fn next_redo_of(&self, author: &Author) -> Option<&Step> {
        self.stacks.last_undone_of(author)
    }

    /// How many commands can be undone.
    #[must_use]
    pub fn undo_depth(&self) -> usize {
        self.stacks.done.len()
    }

    /// How many commands the session can redo. Linear in them.
    #[must_use]
    pub fn redo_depth(&self) -> usize {
        self.stacks.session_undone().count()
    }

    /// How many commands their authors can redo, also those that the session cannot.
    #[must_use]
    pub fn undone(&self) -> usize {
        self.stacks.undone_len()
    }

    /// Whether the session has something to redo beside a step.
    pub(super) fn can_redo_beside(&self, step: &Step) -> bool {
        let mut undone = self.stacks.session_undone();
        undone.any(|other| !std::ptr::eq(other, step))
    }

    /// Whether a step that is done again can be undone again: whether it is newer than all that was forgotten.
    pub(super) fn is_within_reach(&self, step: &Step) -> bool {
        step.first_seq() > self.stacks.forgotten_through
    }

    /// About how many bytes of memory the steps hold.
    #[must_use]
    pub const fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// The step that an undo would take back, as its record or its command names it.
    #[must_use]
    pub fn next_undo_in(&self, scope: Scope, author: Option<&Author>) -> Option<&Step> {
        match scope {
            Scope::Session => self.next_undo(),
            Scope::Mine => self.next_undo_of(author?),
        }
    }

    /// The step that a redo would do again.
    #[must_use]
    pub fn next_redo_in(&self, scope: Scope, author: Option<&Author>) -> Option<&Step> {
        match scope {
            Scope::Session => self.next_redo(),
            Scope::Mine => self.next_redo_of(author?),
        }
    }

    /// Folds a record in; with the document before it if it replaced that.
    ///
    /// # Errors
    /// The `seq` of the record if it undoes or redoes something that is not next: the log is corrupt.
    pub(super) fn fold(
        &mut self,
        recorded: &Arc<Recorded>,
        before: Option<&Document>,
        limits: &Limits,
    ) -> Result<(), Seq> {
        match (recorded.command_type, recorded.target) {
            (CommandType::Undo, Some(target)) => self.fold_undo(recorded, target, before, limits),
            (CommandType::Redo, Some(target)) => self.fold_redo(recorded, target, limits),
            (CommandType::Undo | CommandType::Redo, None) => Err(recorded.first_seq),
            (command, _) if command.is_undoable() => {
                self.begin(recorded, before, limits);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes a record over for the step that has one of its own with the same text.
    pub(super) fn share(&mut self, recorded: &Arc<Recorded>) {
        if let Some(step) = self.stacks.done_at(recorded.first_seq) {
            step.share(recorded);
        }
    }

    fn fold_undo(
        &mut self,
        undo: &Arc<Recorded>,
        target: Target,
        before: Option<&Document>,
        limits: &Limits,
    ) -> Result<(), Seq> {
        if self.stacks.has_forgotten && self.stacks.find_done(target.command_id).is_none() {
            // Beyond what is kept now, it can no longer be done again, nor can what was undone before it.
            self.forget_undone(0);
            return Ok(());
        }
        let author = undo.origin.author();
        let next = self.next_undo_in(undo.scope, author.as_ref()).map(Step::target);
        if next != Some(target) {
            return Err(undo.first_seq);
        }
        let step = self.stacks.take_done(target.command_id).ok_or(undo.first_seq)?;
        self.undo(step, undo, before, limits);
        Ok(())
    }

    fn fold_redo(&mut self, redo: &Recorded, target: Target, limits: &Limits) -> Result<(), Seq> {
        if self.stacks.has_forgotten && self.stacks.find_undone(target.command_id).is_none() {
            // It is done again and cannot be undone, nor can what is below it, wherever that is.
            self.forget_done(0);
            self.stacks.forgotten_through = redo.first_seq;
            return Ok(());
        }
        let author = redo.origin.author();
        let next = self.next_redo_in(redo.scope, author.as_ref()).map(Step::target);
        if next != Some(target) {
            return Err(redo.first_seq);
        }
        let step = self.stacks.take_undone(target.command_id).ok_or(redo.first_seq)?;
        self.redo(step, limits);
        Ok(())
    }

    /// A new step. Its author goes on from here, and so does the session: what they had undone is overtaken (U6). What
    /// others had undone stays theirs.
    fn begin(&mut self, recorded: &Arc<Recorded>, before: Option<&Document>, limits: &Limits) {
        let author = recorded.origin.author();
        let overtaken = self.stacks.take_overtaken(author.as_ref(), recorded.first_seq);
        self.weight_bytes -= overtaken.iter().map(Step::weight_bytes).sum::<usize>();
        let step = Step::new(recorded, before);
        self.weight_bytes += step.weight_bytes();
        self.stacks.put_done(step);
        // What others could redo goes before what anybody could undo.
        while self.weight_bytes > limits.undo_bytes_max && self.stacks.undone_len() > 0 {
            self.forget_undone(self.stacks.undone_len() - 1);
        }
        // The newest step stays, whatever its weight.
        while self.weight_bytes > limits.undo_bytes_max && self.stacks.done.len() > 1 {
            self.forget_done(self.stacks.done.len() - 1);
        }
        self.forget_done(limits.undo_depth_max);
    }

    fn undo(&mut self, step: Step, undo: &Arc<Recorded>, before: Option<&Document>, limits: &Limits) {
        self.weight_bytes -= step.weight_bytes();
        let step = step.undone(undo, before);
        self.weight_bytes += step.weight_bytes();
        self.stacks.put_undone(undo.first_seq, step);
        self.forget_undone(limits.undo_depth_max);
    }

    fn redo(&mut self, step: Step, limits: &Limits) {
        self.weight_bytes -= step.weight_bytes();
        if !self.is_within_reach(&step) {
            self.stacks.has_forgotten = true;
            return;
        }
        let step = step.redone();
        self.weight_bytes += step.weight_bytes();
        self.stacks.put_done(step);
        self.forget_done(limits.undo_depth_max);
    }

    /// Forgets the oldest steps, until so many are left.
    fn forget_done(&mut self, left: usize) {
        while self.stacks.done.len() > left {
            let Some(step) = self.stacks.done.pop_front() else {
                return;
            };
            self.weight_bytes -= step.weight_bytes();
            self.stacks.has_forgotten = true;
            self.stacks.forgotten_through = self.stacks.forgotten_through.max(step.first_seq());
        }
    }

    /// Forgets what was undone the longest ago, until so much is left.
    fn forget_undone(&mut self, left: usize) {
        while self.stacks.undone_len() > left {
            let Some(step) = self.stacks.take_oldest_undone() else {
                return;
            };
            self.weight_bytes -= step.weight_bytes();
            self.stacks.has_forgotten = true;
        }
    }
}
