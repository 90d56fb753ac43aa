//! The aggregate: one session, folded from its log.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    blueprint::Blueprint,
    command::Fingerprint,
    event::{Document, Event},
    graph::Misfit,
    history::History,
    ids::{CommandId, Epoch, NodeId, ProjectId, Seq, SessionId, TemplateId, Timestamp},
    limits::Limits,
    recorded::{Receipt, Recorded},
};

/// What a session is from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// Which session.
    pub session_id: SessionId,
    /// Which log.
    pub epoch: Epoch,
    /// When it began.
    pub created_at: Timestamp,
    /// The project it is about, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Project>,
}

/// The project that a session is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The slug.
    pub project_id: ProjectId,
    /// The name for people.
    pub project_name: Arc<str>,
    /// The template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<TemplateId>,
}

/// What stays with a session while it is in memory and is not in its log.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The template. Only deciding looks at it: replaying events needs none.
    pub blueprint: Option<Arc<Blueprint>>,
    /// The limits.
    pub limits: Arc<Limits>,
}

/// Why a log cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A record does not follow the one before it.
    #[error("the record at {found} does not follow {after}")]
    Gap {
        /// The `seq` before it.
        after: Seq,
        /// Where it claims to begin.
        found: Seq,
    },
    /// A record has no events: nothing that changes nothing is recorded.
    #[error("the record at {0} is empty")]
    Empty(Seq),
    /// An event does not fit the state before it.
    #[error("the event at {seq} does not fit: {misfit}")]
    Misfit {
        /// Its `seq`.
        seq: Seq,
        /// Why.
        misfit: Misfit,
    },
    /// An undo or redo is not of the step that was next.
    #[error("the undo or redo at {0} is not of the step that was next")]
    History(Seq),
}

/// One session's state.
#[derive(Debug, PartialEq)]
pub struct Session {
    genesis: Genesis,
    rules: Rules,
    document: Document,
    seq: Seq,
    history: History,
    saves: Saves,
    changes: Changes,
    accepted: BTreeMap<CommandId, Accepted>,
    window: Window,
    last_activity: Timestamp,
}

/// What answers a command that comes again (P4).
#[derive(Debug, Clone, PartialEq)]
struct Accepted {
    fingerprint: Fingerprint,
    receipt: Receipt,
}

/// What is not in a project file yet.
#[derive(Debug, Default, PartialEq)]
struct Saves {
    last_change: Seq,
    saved_through: Seq,
}

/// When each node last changed, for `expected_seq`.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    nodes: BTreeMap<NodeId, Seq>,
    roots: Seq,
    /// When the whole document was last replaced.
    everything: Seq,
}

/// The latest records, for clients that come back (P2) and for readers that follow.
#[derive(Debug, Default, PartialEq)]
struct Window {
    records: VecDeque<Arc<Recorded>>,
    events: usize,
}

impl Session {
    /// A session before its first command.
    #[must_use]
    pub fn new(genesis: Genesis, rules: Rules) -> Self {
        Self {
            last_activity: genesis.created_at,
            genesis,
            rules,
            document: Document::default(),
            seq: Seq::ZERO,
            history: History::default(),
            saves: Saves::default(),
            changes: Changes::default(),
            accepted: BTreeMap::new(),
            window: Window::default(),
        }
    }

    /// The session that a log tells of.
    ///
    /// # Errors
    /// If the log is not one that commands wrote.
    pub fn replay(
        genesis: Genesis,
        rules: Rules,
        log: impl IntoIterator<Item = Arc<Recorded>>,
    ) -> Result<Self, ReplayError> {
        let mut session = Self::new(genesis, rules);
        for recorded in log {
            session.apply(&recorded)?;
        }
        Ok(session)
    }

    /// Makes a record part of the session.
    ///
    /// # Errors
    /// If it does not follow from the state, which it always does if it was decided on it. The session is then of no
    /// more use: it is somewhere within the record.
    pub fn apply(&mut self, recorded: &Arc<Recorded>) -> Result<(), ReplayError> {
        if recorded.first_seq != self.seq.plus(1) {
            return Err(ReplayError::Gap {
                after: self.seq,
                found: recorded.first_seq,
            });
        }
        if recorded.events.is_empty() {
            return Err(ReplayError::Empty(recorded.first_seq));
        }
        self.history
            .fold(recorded, &self.document, &self.rules.limits)
            .map_err(ReplayError::History)?;
        for (event, seq) in recorded.events.iter().zip(recorded.first_seq.0..) {
            let seq = Seq(seq);
            event
                .apply(&mut self.document)
                .map_err(|misfit| ReplayError::Misfit { seq, misfit })?;
            self.changes.note(event, seq);
            self.saves.note(event, seq);
        }
        self.seq = recorded.seq();
        self.last_activity = recorded.timestamp;
        let answer = Accepted {
            fingerprint: recorded.fingerprint,
            receipt: recorded.receipt(),
        };
        self.accepted.insert(recorded.command_id, answer);
        self.window.push(recorded, self.rules.limits.replay_window_events);
        Ok(())
    }

    /// What the session is.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The rules it goes by.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The graph and what belongs to it. Cloning it costs nothing.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// The `seq` of the last event.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Undo and redo.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Whether there are changes that no project file has.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.saves.is_dirty()
    }

    /// When the last command was received; before the first, when the session began.
    #[must_use]
    pub const fn last_activity(&self) -> Timestamp {
        self.last_activity
    }

    /// When a node last changed: its name, properties or place, or its list of children.
    #[must_use]
    pub fn changed(&self, node_id: NodeId) -> Seq {
        self.changes
            .nodes
            .get(&node_id)
            .copied()
            .unwrap_or_default()
            .max(self.changes.everything)
    }

    /// When the list of roots last changed.
    #[must_use]
    pub fn roots_changed(&self) -> Seq {
        self.changes.roots.max(self.changes.everything)
    }

    /// The receipt of a command that was accepted before; `Some(Err)` if it was another one under the same id.
    #[must_use]
    pub fn accepted(&self, command_id: CommandId, fingerprint: Fingerprint) -> Option<Result<Receipt, ()>> {
        let accepted = self.accepted.get(&command_id)?;
        if accepted.fingerprint != fingerprint {
            return Some(Err(()));
        }
        Some(Ok(Receipt {
            duplicate: true,
            ..accepted.receipt.clone()
        }))
    }

    /// The records that hold the events after `seq`, oldest first, if the replay window reaches that far. The first may
    /// begin before `seq`.
    #[must_use]
    pub fn since(&self, seq: Seq) -> Option<impl Iterator<Item = &Arc<Recorded>>> {
        // Of a record that begins before `seq` the rest is at hand too; a `seq` before the first record's is not reached.
        let oldest = self.window.records.front().map(|record| record.first_seq);
        let reached = seq <= self.seq && oldest.is_none_or(|oldest| oldest <= seq.plus(1));
        let skip = self.window.records.partition_point(|record| record.seq() <= seq);
        reached.then(|| self.window.records.iter().skip(skip))
    }

    pub(super) fn is_dirty_after(&self, events: &[Event]) -> bool {
        let mut saves = Saves { ..self.saves };
        for (event, seq) in events.iter().zip(self.seq.plus(1).0..) {
            saves.note(event, Seq(seq));
        }
        saves.is_dirty()
    }
}

impl Saves {
    const fn note(&mut self, event: &Event, seq: Seq) {
        match event {
            Event::ProjectSaved { through, .. } => self.saved_through = *through,
            Event::NodeCreated { .. }
            | Event::NodeDeleted { .. }
            | Event::NodeLinked { .. }
            | Event::NodeUnlinked { .. }
            | Event::PropertyChanged { .. }
            | Event::PropertyDeleted { .. }
            | Event::ProjectLoaded { .. } => self.last_change = seq,
        }
    }

    fn is_dirty(&self) -> bool {
        self.last_change > self.saved_through
    }
}

impl Changes {
    fn note(&mut self, event: &Event, seq: Seq) {
        match event {
            Event::NodeCreated { node_id, parent_id, .. } => {
                self.nodes.insert(*node_id, seq);
                self.note_children(*parent_id, seq);
            }
            Event::NodeDeleted { node_id, parent_id, .. } => {
                self.nodes.remove(node_id);
                self.note_children(*parent_id, seq);
            }
            Event::NodeLinked {
                parent_id, child_id, ..
            }
            | Event::NodeUnlinked {
                parent_id, child_id, ..
            } => {
                self.nodes.insert(*child_id, seq);
                self.note_children(*parent_id, seq);
                self.roots = seq;
            }
            Event::PropertyChanged { node_id, .. } | Event::PropertyDeleted { node_id, .. } => {
                self.nodes.insert(*node_id, seq);
            }
            Event::ProjectSaved { .. } => {}
            Event::ProjectLoaded { .. } => {
                *self = Self {
                    everything: seq,
                    ..Self::default()
                }
            }
        }
    }

    fn note_children(&mut self, parent_id: Option<NodeId>, seq: Seq) {
        match parent_id {
            Some(parent) => {
                self.nodes.insert(parent, seq);
            }
            None => self.roots = seq,
        }
    }
}

impl Window {
    /// Keeps the latest whole records that hold at most `events_max` events; the latest one always.
    fn push(&mut self, recorded: &Arc<Recorded>, events_max: usize) {
        self.events += recorded.len_on_wire();
        self.records.push_back(Arc::clone(recorded));
        while self.events > events_max && self.records.len() > 1 {
            if let Some(oldest) = self.records.pop_front() {
                self.events -= oldest.len_on_wire();
            }
        }
    }
}
