//! Undo and redo history of a session, folded from the log.
//!
//! The log is never rewritten. Undoing a command is a command of its own, whose events are the inverse events.
//!
//! ```text
//!              ┌──── an undo of either scope moves a step out of its place ────┐
//!              │                                                               ▼
//!   done   a1  b1  a2  b2  a3                                        undone   b3  a4
//!              ▲                                                               │
//!              └──── a redo moves the step back into its old place ────────────┘
//! ```
//!
//! Each step belongs to the author of its command. An undo of the session takes the last step that is done, and an
//! author's own undo takes the author's last step. A redo takes the last undone step of the session or of the author.
//! The steps of an author are therefore always undone from the last to the first and redone in reverse.
//!
//! The events of an undo are decided on the document at the time of the undo ([`super::decide`]), because other
//! commands may have changed the step's results since.

mod blame;
mod inverse;
mod stacks;
mod step;

use std::sync::Arc;

pub(crate) use self::{
    blame::{Placements, WriteTarget},
    inverse::{InverseChange, MoveShape},
};
pub use self::{stacks::Stacks, step::Step};
use super::{
    command::{AuthorKey, CommandType, Scope},
    document::Document,
    ids::Seq,
    limits::Limits,
    record::{CommandRecord, Target},
};

/// Undo and redo stacks within the limits of depth and weight.
#[derive(Debug, Default, PartialEq)]
pub struct History {
    stacks: Stacks,
    weight_bytes: usize,
}

impl History {
    /// Restores the history from the stacks of a snapshot.
    #[must_use]
    pub fn restore(stacks: Stacks) -> Self {
        let weight_bytes = stacks.done.iter().chain(stacks.undone()).map(Step::weight_bytes).sum();
        Self { stacks, weight_bytes }
    }

    /// Returns the stacks, to store them in a snapshot.
    #[must_use]
    pub const fn stacks(&self) -> &Stacks {
        &self.stacks
    }

    /// Returns the step that an undo of the session takes.
    #[must_use]
    pub fn next_undo(&self) -> Option<&Step> {
        self.stacks.done.back()
    }

    /// Returns the step that a redo of the session takes.
    #[must_use]
    pub fn next_redo(&self) -> Option<&Step> {
        self.stacks.session_undone().next_back()
    }

    /// Returns the step that an undo of the author's own steps takes (U1).
    #[must_use]
    pub fn next_undo_of(&self, author: &AuthorKey) -> Option<&Step> {
        let mut newest_first = self.stacks.done.iter().rev();
        newest_first.find(|step| step.author_key().as_ref() == Some(author))
    }

    /// Returns the step that a redo of the author's own steps takes (U1).
    #[must_use]
    pub fn next_redo_of(&self, author: &AuthorKey) -> Option<&Step> {
        self.stacks.last_undone_of(author)
    }

    /// Returns the number of steps that can be undone.
    #[must_use]
    pub fn undo_depth(&self) -> usize {
        self.stacks.done.len()
    }

    /// Returns the number of steps that the session can redo. Takes time linear in the result.
    #[must_use]
    pub fn redo_depth(&self) -> usize {
        self.stacks.session_undone().count()
    }

    /// Returns the number of steps that can be redone, including steps that only their authors can redo.
    #[must_use]
    pub fn undone(&self) -> usize {
        self.stacks.undone_len()
    }

    /// Returns true if the session can redo another step than the given one.
    pub(super) fn can_redo_other_than(&self, step: &Step) -> bool {
        let mut undone = self.stacks.session_undone();
        undone.any(|other| !std::ptr::eq(other, step))
    }

    /// Returns true if a redone step can be undone again: the step is newer than every evicted step.
    pub(super) fn is_newer_than_evicted(&self, step: &Step) -> bool {
        step.first_seq() > self.stacks.evicted_through
    }

    /// Returns the estimated size of all steps, in bytes of memory.
    #[must_use]
    pub const fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Returns the step that an undo of the scope takes.
    #[must_use]
    pub fn next_undo_in(&self, scope: Scope, author: Option<&AuthorKey>) -> Option<&Step> {
        match scope {
            Scope::Session => self.next_undo(),
            Scope::Mine => self.next_undo_of(author?),
        }
    }

    /// Returns the step that a redo of the scope takes.
    #[must_use]
    pub fn next_redo_in(&self, scope: Scope, author: Option<&AuthorKey>) -> Option<&Step> {
        match scope {
            Scope::Session => self.next_redo(),
            Scope::Mine => self.next_redo_of(author?),
        }
    }

    /// Folds a record into the history. `before` is the previous document if the record replaced the whole document.
    ///
    /// # Errors
    /// Returns the `seq` of the record if the record undoes or redoes another step than the next one: the log is
    /// corrupt.
    pub(super) fn fold(
        &mut self,
        recorded: &Arc<CommandRecord>,
        before: Option<&Document>,
        limits: &Limits,
    ) -> Result<(), Seq> {
        match (recorded.command_type, recorded.target) {
            (CommandType::Undo, Some(target)) => self.fold_undo(recorded, target, before, limits),
            (CommandType::Redo, Some(target)) => self.fold_redo(recorded, target, limits),
            (CommandType::Undo | CommandType::Redo, None) => Err(recorded.first_seq),
            (command, _) if command.is_undoable() => {
                self.push_step(recorded, before, limits);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Replaces the record of the matching step by the given equal record, so that memory holds the record once.
    pub(super) fn intern(&mut self, recorded: &Arc<CommandRecord>) {
        if let Some(step) = self.stacks.done_at(recorded.first_seq) {
            step.intern(recorded);
        }
    }

    fn fold_undo(
        &mut self,
        undo: &Arc<CommandRecord>,
        target: Target,
        before: Option<&Document>,
        limits: &Limits,
    ) -> Result<(), Seq> {
        if self.stacks.has_evicted && self.stacks.find_done(target.command_id).is_none() {
            // The step was evicted under the present limits, so it cannot be redone, and neither can the steps undone
            // before it.
            self.evict_undone(0);
            return Ok(());
        }
        let author = undo.author.key();
        let next = self.next_undo_in(undo.scope, author.as_ref()).map(Step::target);
        if next != Some(target) {
            return Err(undo.first_seq);
        }
        let step = self.stacks.take_done(target.command_id).ok_or(undo.first_seq)?;
        self.undo(step, undo, before, limits);
        Ok(())
    }

    fn fold_redo(&mut self, redo: &CommandRecord, target: Target, limits: &Limits) -> Result<(), Seq> {
        if self.stacks.has_evicted && self.stacks.find_undone(target.command_id).is_none() {
            // The step was evicted under the present limits, so it cannot be undone, and neither can any older step.
            self.evict_done(0);
            self.stacks.evicted_through = redo.first_seq;
            return Ok(());
        }
        let author = redo.author.key();
        let next = self.next_redo_in(redo.scope, author.as_ref()).map(Step::target);
        if next != Some(target) {
            return Err(redo.first_seq);
        }
        let step = self.stacks.take_undone(target.command_id).ok_or(redo.first_seq)?;
        self.redo(step, limits);
        Ok(())
    }

    /// Adds a new step. The step invalidates the undone steps of its author, and the session can no longer redo older
    /// undone steps (U6). The other authors can still redo their own.
    fn push_step(&mut self, recorded: &Arc<CommandRecord>, before: Option<&Document>, limits: &Limits) {
        let author = recorded.author.key();
        let invalidated = self.stacks.take_invalidated(author.as_ref(), recorded.first_seq);
        self.weight_bytes -= invalidated.iter().map(Step::weight_bytes).sum::<usize>();
        let step = Step::new(recorded, before);
        self.weight_bytes += step.weight_bytes();
        self.stacks.put_done(step);
        // Evicts steps that can be redone before steps that can be undone.
        while self.weight_bytes > limits.undo_bytes_max && self.stacks.undone_len() > 0 {
            self.evict_undone(self.stacks.undone_len() - 1);
        }
        // The newest step is never evicted, whatever its weight.
        while self.weight_bytes > limits.undo_bytes_max && self.stacks.done.len() > 1 {
            self.evict_done(self.stacks.done.len() - 1);
        }
        self.evict_done(limits.undo_depth_max);
    }

    fn undo(&mut self, step: Step, undo: &Arc<CommandRecord>, before: Option<&Document>, limits: &Limits) {
        self.weight_bytes -= step.weight_bytes();
        let step = step.undone(undo, before);
        self.weight_bytes += step.weight_bytes();
        self.stacks.put_undone(undo.first_seq, step);
        self.evict_undone(limits.undo_depth_max);
    }

    fn redo(&mut self, step: Step, limits: &Limits) {
        self.weight_bytes -= step.weight_bytes();
        if !self.is_newer_than_evicted(&step) {
            self.stacks.has_evicted = true;
            return;
        }
        let step = step.redone();
        self.weight_bytes += step.weight_bytes();
        self.stacks.put_done(step);
        self.evict_done(limits.undo_depth_max);
    }

    /// Evicts the oldest done steps until `left` are left.
    fn evict_done(&mut self, left: usize) {
        while self.stacks.done.len() > left {
            let Some(step) = self.stacks.done.pop_front() else {
                return;
            };
            self.weight_bytes -= step.weight_bytes();
            self.stacks.has_evicted = true;
            self.stacks.evicted_through = self.stacks.evicted_through.max(step.first_seq());
        }
    }

    /// Evicts the steps that were undone the longest ago until `left` are left.
    fn evict_undone(&mut self, left: usize) {
        while self.stacks.undone_len() > left {
            let Some(step) = self.stacks.take_oldest_undone() else {
                return;
            };
            self.weight_bytes -= step.weight_bytes();
            self.stacks.has_evicted = true;
        }
    }
}
