//! The aggregate: one session, folded from its log.

mod changes;
mod saves;
mod window;

use std::sync::Arc;

use ecow::EcoString;
use serde::{Deserialize, Serialize};

use self::{changes::Changes, saves::Saves, window::Window};
use super::{
    blueprint::Blueprint,
    event::{Document, Event},
    graph::Misfit,
    history::{History, Stacks},
    ids::{CommandId, Epoch, NodeId, ProjectId, Seq, SessionId, TemplateId, Timestamp},
    limits::Limits,
    recorded::Recorded,
    state_hash::StateHash,
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
    pub project_name: EcoString,
    /// The template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<TemplateId>,
}

/// The template of a session whose document this is.
#[must_use]
pub fn template_of<'a>(genesis: &'a Genesis, document: &'a Document) -> Option<&'a TemplateId> {
    let first = || genesis.project.as_ref()?.template_id.as_ref();
    document.template_id.as_ref().or_else(first)
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
    /// The graph is not the one that the record was written after: the record or one before it is damaged (P12).
    #[error("the graph at {seq} hashes to {found}, and the log recorded {recorded}")]
    StateHash {
        /// The `seq` of the record.
        seq: Seq,
        /// The hash in the log.
        recorded: StateHash,
        /// The hash of the graph that replay came to.
        found: StateHash,
    },
}

/// Compares the graph after a record with the hash that the record carries. Records of older hubs carry none.
fn check_hash(recorded: &Recorded, found: StateHash) -> Result<(), ReplayError> {
    match recorded.outcome.state_hash {
        Some(hash) if hash != found => Err(ReplayError::StateHash {
            seq: recorded.seq(),
            recorded: hash,
            found,
        }),
        Some(_) | None => Ok(()),
    }
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
    window: Window,
    last_activity: Timestamp,
}

/// What a session has beside its document, its history and its latest records.
///
/// Together they are a session at a moment, from which replay can begin instead of from the first record. Cheap to take:
/// large parts are shared with the session until either changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The `seq` of the last event that it contains.
    pub seq: Seq,
    /// The graph and what belongs to it.
    pub document: Document,
    history: Stacks,
    saves: Saves,
    changes: Changes,
    last_activity: Timestamp,
    /// The hash of the graph; none in snapshots of older hubs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state_hash: Option<StateHash>,
}

impl Snapshot {
    /// Returns false if the graph is not the one that the snapshot was taken of: it is damaged (P12).
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.state_hash
            .is_none_or(|hash| hash == self.document.graph.state_hash())
    }
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
            window: Window::default(),
        }
    }

    /// The session that a log tells of: all of it, or a snapshot and what came after. Records before the snapshot only
    /// fill the replay window.
    ///
    /// # Errors
    /// If the log is not one that commands wrote.
    pub fn replay(
        genesis: Genesis,
        rules: Rules,
        snapshot: Option<Snapshot>,
        log: impl IntoIterator<Item = Arc<Recorded>>,
    ) -> Result<Self, ReplayError> {
        let mut session = Self::new(genesis, rules);
        if let Some(snapshot) = snapshot {
            session.seq = snapshot.seq;
            session.document = snapshot.document;
            session.history = History::restore(snapshot.history);
            session.saves = snapshot.saves;
            session.changes = snapshot.changes;
            session.last_activity = snapshot.last_activity;
        }
        let begins_at = session.seq;
        let mut before: Option<Seq> = None;
        for mut recorded in log {
            let found = recorded.first_seq;
            if let Some(after) = before.replace(recorded.seq()).filter(|after| after.plus(1) != found) {
                return Err(ReplayError::Gap { after, found });
            }
            if recorded.seq() > begins_at {
                session.apply(&recorded)?;
            } else {
                if recorded.seq() == begins_at {
                    check_hash(&recorded, session.document.graph.state_hash())?;
                }
                session.share(&mut recorded);
                session.keep(&recorded);
            }
        }
        Ok(session)
    }

    /// The session as it is, to begin a later replay with.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            seq: self.seq,
            document: self.document.clone(),
            history: self.history.stacks().clone(),
            saves: self.saves,
            changes: self.changes.clone(),
            last_activity: self.last_activity,
            state_hash: Some(self.document.graph.state_hash()),
        }
    }

    /// Makes a record part of the session.
    ///
    /// # Errors
    /// If it does not follow from the state, which it always does if it was decided on it, or the graph after it has
    /// another hash than the record says. The session is then of no more use: it is somewhere within the record.
    pub fn apply(&mut self, recorded: &Arc<Recorded>) -> Result<(), ReplayError> {
        let before = self.change(recorded)?;
        check_hash(recorded, self.document.graph.state_hash())?;
        self.fold(recorded, before.as_ref()).map(drop)
    }

    /// Makes a change that was proposed on this very state, notes what the graph hashes to after it, and tells the
    /// record to append. The commands beside it are those that the session remembers no longer for it.
    ///
    /// The document is changed where it is: only what somebody else holds of the one before is copied.
    ///
    /// # Errors
    /// As [`Session::apply`].
    pub fn carry_out(&mut self, mut proposed: Recorded) -> Result<(Arc<Recorded>, Vec<CommandId>), ReplayError> {
        let before = self.change(&proposed)?;
        proposed.outcome.state_hash = Some(self.document.graph.state_hash());
        let recorded = Arc::new(proposed);
        let forgotten = self.fold(&recorded, before.as_ref())?;
        Ok((recorded, forgotten))
    }

    /// Makes the changes of a record to the document. The one before is the answer if the record replaces all of it.
    fn change(&mut self, recorded: &Recorded) -> Result<Option<Document>, ReplayError> {
        if recorded.first_seq != self.seq.plus(1) {
            return Err(ReplayError::Gap {
                after: self.seq,
                found: recorded.first_seq,
            });
        }
        if recorded.events.is_empty() {
            return Err(ReplayError::Empty(recorded.first_seq));
        }
        let before = recorded.loads().then(|| self.document.clone());
        for (event, seq) in recorded.events.iter().zip(recorded.first_seq.0..) {
            let seq = Seq(seq);
            event
                .apply(&mut self.document)
                .map_err(|misfit| ReplayError::Misfit { seq, misfit })?;
            self.changes.note(event, seq);
            self.saves.note(event, seq);
        }
        Ok(before)
    }

    /// Notes a record whose changes are made, in everything else that the session has.
    fn fold(&mut self, recorded: &Arc<Recorded>, before: Option<&Document>) -> Result<Vec<CommandId>, ReplayError> {
        self.history
            .fold(recorded, before, &self.rules.limits)
            .map_err(ReplayError::History)?;
        self.seq = recorded.seq();
        self.last_activity = recorded.timestamp;
        Ok(self.keep(recorded))
    }

    /// A snapshot and the records before it were read one by one, and say much of the same: from here on there is one
    /// copy of it, as there was before the session was read.
    fn share(&mut self, recorded: &mut Arc<Recorded>) {
        if let Some(own) = Arc::get_mut(recorded) {
            own.events.iter_mut().for_each(|event| event.share_with(&self.document));
        }
        self.history.share(recorded);
    }

    fn keep(&mut self, recorded: &Arc<Recorded>) -> Vec<CommandId> {
        self.window.push(recorded, &self.rules.limits)
    }

    /// What the session is.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The template it goes by: that of its graph, else the one that it began with.
    #[must_use]
    pub fn template_id(&self) -> Option<&TemplateId> {
        template_of(&self.genesis, &self.document)
    }

    /// Goes by another template from here on. Nothing that there is changes by it.
    pub fn set_blueprint(&mut self, blueprint: Option<Arc<Blueprint>>) {
        self.rules.blueprint = blueprint;
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

    /// Events in the replay window.
    #[must_use]
    pub const fn window_events(&self) -> usize {
        self.window.events()
    }

    /// Bytes of the replay window's records, about.
    #[must_use]
    pub const fn window_bytes(&self) -> usize {
        self.window.bytes()
    }

    /// When the document last changed, in whatever way.
    #[must_use]
    pub const fn last_change(&self) -> Seq {
        self.saves.last_change()
    }

    /// When a node last changed: its name, properties or place, or its list of children.
    #[must_use]
    pub fn changed(&self, node_id: NodeId) -> Seq {
        self.changes.of_node(node_id)
    }

    /// When the list of roots last changed.
    #[must_use]
    pub fn roots_changed(&self) -> Seq {
        self.changes.of_roots()
    }

    /// The record of a command, if it is among the latest.
    #[must_use]
    pub fn recent(&self, command_id: CommandId) -> Option<&Arc<Recorded>> {
        self.window.of_command(command_id)
    }

    /// Whether the latest records are all there are. If not, whether a command was accepted before is known only to the
    /// log.
    #[must_use]
    pub fn remembers_everything(&self) -> bool {
        self.window.first_seq().unwrap_or(self.seq.plus(1)) == Seq(1)
    }

    /// The records that hold the events after `seq`, oldest first, if the replay window reaches that far. The first may
    /// begin before `seq`.
    #[must_use]
    pub fn since(&self, seq: Seq) -> Option<impl Iterator<Item = &Arc<Recorded>>> {
        // Of a record that begins before `seq` the rest is at hand too; a `seq` before the first record's is not reached.
        let oldest = self.window.first_seq();
        let reached = seq <= self.seq && oldest.is_none_or(|oldest| oldest <= seq.plus(1));
        reached.then(|| self.window.after(seq))
    }

    /// The record that holds the event at `seq`, if the replay window reaches that far.
    pub(super) fn record_at(&self, seq: Seq) -> Option<&Arc<Recorded>> {
        let before = Seq(seq.0.checked_sub(1)?);
        self.since(before)?.next()
    }

    pub(super) fn is_dirty_after(&self, events: &[Event]) -> bool {
        let mut saves = self.saves;
        for (event, seq) in events.iter().zip(self.seq.plus(1).0..) {
            saves.note(event, Seq(seq));
        }
        saves.is_dirty()
    }
}

/// The document as it was right after the event with that `seq`, also within a command.
///
/// # Errors
/// If the records do not follow from the snapshot, or from the beginning if there is none; if the graph after one of them
/// has another hash than it says; or if they do not reach `at`.
pub fn document_at(snapshot: Option<&Snapshot>, log: &[Arc<Recorded>], at: Seq) -> Result<Document, ReplayError> {
    let (mut document, mut seq) = match snapshot {
        Some(snapshot) => (snapshot.document.clone(), snapshot.seq),
        None => (Document::default(), Seq::ZERO),
    };
    for recorded in log.iter().filter(|recorded| recorded.first_seq <= at) {
        if recorded.seq() <= seq {
            if recorded.seq() == seq {
                check_hash(recorded, document.graph.state_hash())?;
            }
            continue;
        }
        if recorded.first_seq != seq.plus(1) {
            return Err(ReplayError::Gap {
                after: seq,
                found: recorded.first_seq,
            });
        }
        for (event, place) in recorded.events.iter().zip(recorded.first_seq.0..=at.0) {
            let misfit = |misfit| ReplayError::Misfit {
                seq: Seq(place),
                misfit,
            };
            event.apply(&mut document).map_err(misfit)?;
        }
        // Within a command the graph has no recorded hash; its last `seq` closes it and changes nothing.
        if at.plus(1) >= recorded.seq() {
            check_hash(recorded, document.graph.state_hash())?;
        }
        seq = recorded.seq();
    }
    // A log whose end is missing would answer with an earlier graph.
    if seq < at {
        return Err(ReplayError::Gap { after: seq, found: at });
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        command::{Command, Context, CreateNode, Origin, Scope},
        decide::{Decision, decide},
        graph::Graph,
        value::Value,
    };

    fn genesis() -> Genesis {
        Genesis {
            session_id: SessionId::new(Uuid::nil()),
            epoch: Epoch::new(1),
            created_at: Timestamp(0),
            project: None,
        }
    }

    fn rules() -> Rules {
        Rules {
            blueprint: None,
            limits: Arc::default(),
        }
    }

    /// Sends the session's next command, which changes something.
    fn change(session: &mut Session, command: &Command) -> Arc<Recorded> {
        let context = Context {
            command_id: CommandId::new(Uuid::from_u128(session.seq().0.into())),
            origin: Origin::default(),
            now: Timestamp(0),
            expected_seq: None,
        };
        let Ok(Decision::Change(recorded)) = decide(session, command, &context) else {
            unreachable!("{command:?} changes something");
        };
        session.apply(&recorded).expect("fits");
        recorded
    }

    /// A project that was just opened has nothing to save; what is done or redone later has, since its file may have been
    /// written again meanwhile.
    #[test]
    fn a_document_from_the_projects_file_is_not_dirty_until_something_happens() {
        let mut session = Session::new(genesis(), rules());
        let mut dirty_after = |command: Command| {
            let recorded = change(&mut session, &command);
            assert_eq!(
                recorded.outcome.is_dirty,
                session.is_dirty(),
                "the receipt says the same"
            );
            session.is_dirty()
        };
        let load = |from_file| Command::LoadGraph {
            graph: Graph::default(),
            extras: None,
            from_file,
            template_id: None,
        };
        let scope = Scope::Session;
        assert!(!dirty_after(load(true)));
        assert!(dirty_after(Command::undo(scope)));
        assert!(dirty_after(Command::redo(scope)));
        assert!(!dirty_after(load(true)));
        assert!(dirty_after(load(false)));
    }

    /// A record of another node's name, as a changed letter in the log would make it.
    fn renamed(recorded: &Arc<Recorded>, name: &str) -> Arc<Recorded> {
        let mut other = Recorded::clone(recorded);
        if let Event::NodeCreated { content, .. } = &mut other.events[0] {
            content.name = name.into();
        }
        Arc::new(other)
    }

    /// A session and its log, with the hash of the graph in each record.
    fn logged(names: &[&str]) -> (Session, Vec<Arc<Recorded>>) {
        let (mut session, mut log) = (Session::new(genesis(), rules()), Vec::new());
        for (name, number) in names.iter().zip(1_u128..) {
            let create = Command::CreateNode(CreateNode {
                node_type: "task".into(),
                name: Some((*name).into()),
                parent_id: None,
                index: None,
                properties: BTreeMap::new(),
                node_id: Some(NodeId::new(Uuid::from_u128(number))),
            });
            let context = Context {
                command_id: CommandId::new(Uuid::from_u128(number)),
                origin: Origin::default(),
                now: Timestamp(0),
                expected_seq: None,
            };
            let Ok(Decision::Change(proposed)) = decide(&session, &create, &context) else {
                unreachable!("it creates a node");
            };
            log.push(session.carry_out(Arc::unwrap_or_clone(proposed)).expect("fits").0);
        }
        (session, log)
    }

    /// P12: a record that makes another graph than the one that was hashed when it was written is refused, at the record
    /// itself, with both hashes.
    #[test]
    fn replay_refuses_a_graph_of_another_hash() {
        let (session, mut log) = logged(&["a", "b", "c"]);
        let recorded = log[1].outcome.state_hash.expect("hashed");
        log[1] = renamed(&log[1], "B");
        let refused = Session::replay(genesis(), rules(), None, log.clone()).expect_err("another graph");
        let ReplayError::StateHash {
            seq,
            recorded: wanted,
            found,
        } = refused
        else {
            unreachable!("{refused}");
        };
        assert_eq!((seq, wanted), (Seq(4), recorded));
        assert_ne!(found, recorded);
        assert!(document_at(None, &log, Seq(2)).is_ok(), "before the damage");
        for at in [3, 4, 5, 6] {
            let refused = document_at(None, &log, Seq(at)).expect_err("another graph");
            assert!(
                matches!(refused, ReplayError::StateHash { seq: Seq(4), .. }),
                "{at}: {refused}"
            );
        }
        // Behind a sound snapshot the damaged record is not applied, only remembered.
        assert!(Session::replay(genesis(), rules(), Some(session.snapshot()), log).is_ok());
    }

    /// P12: a snapshot of another graph is told by the hash that it carries, and by that of the record it was taken after.
    #[test]
    fn a_snapshot_of_another_hash_is_told() {
        let (session, log) = logged(&["a", "b"]);
        let sound = serde_json::to_string(&session.snapshot()).expect("JSON");
        let damaged = sound.replace("\"name\":\"a\"", "\"name\":\"A\"");
        assert_ne!(sound, damaged);
        let mut damaged: Snapshot = serde_json::from_str(&damaged).expect("JSON all the same");
        assert!(session.snapshot().is_intact() && !damaged.is_intact());
        damaged.state_hash = None;
        assert!(damaged.is_intact(), "an older hub wrote none");
        let read = document_at(Some(&damaged), &log, Seq(4)).expect_err("another graph");
        assert!(matches!(read, ReplayError::StateHash { seq: Seq(4), .. }));
        let replayed = Session::replay(genesis(), rules(), Some(damaged), log).expect_err("another graph");
        assert!(matches!(replayed, ReplayError::StateHash { seq: Seq(4), .. }));
    }

    /// P12: the graph at a `seq` that the records do not reach is not an earlier one.
    #[test]
    fn a_log_that_ends_too_early_has_no_graph_at_its_end() {
        let (_, log) = logged(&["a", "b"]);
        let refused = document_at(None, &log[..1], Seq(4)).expect_err("the end is missing");
        assert_eq!(
            refused,
            ReplayError::Gap {
                after: Seq(2),
                found: Seq(4)
            }
        );
    }

    /// What was read twice is kept once: a step is the record of the window, and the node is what its event says.
    #[test]
    fn a_session_that_was_read_holds_everything_once() {
        let mut session = Session::new(genesis(), rules());
        let node_id = NodeId::new(Uuid::from_u128(7));
        let text = "longer than what a text holds without memory of its own";
        let create = Command::CreateNode(CreateNode {
            node_type: text.into(),
            name: Some(text.into()),
            parent_id: None,
            index: None,
            properties: BTreeMap::from([(text.into(), Value::text(text))]),
            node_id: Some(node_id),
        });
        let recorded = change(&mut session, &create);

        let snapshot = serde_json::to_string(&session.snapshot()).expect("JSON");
        let stored = serde_json::to_string(&recorded).expect("JSON");
        let log = [serde_json::from_str(&stored).expect("the same")];
        let snapshot = serde_json::from_str(&snapshot).expect("the same");
        let read = Session::replay(genesis(), rules(), Some(snapshot), log).expect("sound");
        assert_eq!(read, session);

        let kept = read.record_at(Seq(1)).expect("it is the latest");
        let step = read.history().next_undo().expect("it can be undone");
        assert!(Arc::ptr_eq(step.recorded(), kept));
        let Event::NodeCreated { content, .. } = &kept.events[0] else {
            unreachable!("it created a node");
        };
        let node = &read.document().graph.node(node_id).expect("it is there").content;
        let same = |one: &str, other: &str| std::ptr::eq(one.as_ptr(), other.as_ptr());
        assert!(same(&content.name, &node.name));
        assert!(same(content.type_id.as_str(), node.type_id.as_str()));
        let ids = [content, node].map(|content| content.properties.keys().next().expect("one").as_str());
        assert!(same(ids[0], ids[1]));
    }
}
