//! The aggregate: the state of one session, folded from its log.

mod changes;
mod saves;
mod window;

use std::sync::Arc;

use ecow::EcoString;
use serde::{Deserialize, Serialize};

use self::{changes::LastChanges, saves::SaveState, window::Window};
use super::{
    blueprint::Blueprint,
    document::Document,
    event::Event,
    graph::GraphError,
    history::{History, Stacks},
    ids::{CommandId, Epoch, NodeId, ProjectId, Seq, SessionId, TemplateId, Timestamp},
    limits::Limits,
    record::CommandRecord,
    state_hash::StateHash,
};

/// Header of a session, immutable from the first record of the log to the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHeader {
    /// Id of the session, unique in the hub.
    pub session_id: SessionId,
    /// Epoch of the log. A log that lost acknowledged records continues under a new epoch.
    pub epoch: Epoch,
    /// Time at which the session began, by the hub's clock.
    pub created_at: Timestamp,
    /// Project that the session edits. `None` for a session that belongs to no project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Project>,
}

/// Project that a session edits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Slug of the project, unique in the hub.
    pub project_id: ProjectId,
    /// Display name of the project.
    pub project_name: EcoString,
    /// Template that the project began with. `None` if the project began without a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<TemplateId>,
}

/// Returns the template in force: the document's own, or else the template that the session began with.
#[must_use]
pub fn template_in_force<'a>(header: &'a SessionHeader, document: &'a Document) -> Option<&'a TemplateId> {
    let first = || header.project.as_ref()?.template_id.as_ref();
    document.template_id.as_ref().or_else(first)
}

/// In-memory settings of a session, not part of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Template that commands are checked against. Replay needs no template, because only [`decide`](super::decide)
    /// reads it. `None` for a session without a template.
    pub blueprint: Option<Arc<Blueprint>>,
    /// Limits that commands, history and replay window are held to.
    pub limits: Arc<Limits>,
}

/// Reason for which a log cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A record does not follow the preceding record.
    #[error("the record at {found} does not follow {after}")]
    Gap {
        /// Last `seq` before the gap.
        after: Seq,
        /// First `seq` of the record after the gap.
        found: Seq,
    },
    /// A record has no events. A command without changes is never recorded, so the log is corrupt.
    #[error("the record at {0} is empty")]
    Empty(Seq),
    /// An event cannot be applied to the state before it.
    #[error("the event at {seq} does not fit: {error}")]
    Graph {
        /// `seq` of the event.
        seq: Seq,
        /// Violated rule of the graph.
        error: GraphError,
    },
    /// An undo or redo names another step than the next one in its scope. Carries the `seq` of the record.
    #[error("the undo or redo at {0} is not of the step that was next")]
    History(Seq),
    /// The graph after a record has another hash than the record states. The record or an earlier one is damaged (P12).
    #[error("the graph at {seq} hashes to {found}, and the log recorded {recorded}")]
    StateHash {
        /// Last `seq` of the record.
        seq: Seq,
        /// Hash in the log.
        recorded: StateHash,
        /// Hash of the replayed graph.
        found: StateHash,
    },
}

/// Compares the graph after a record with the hash in the record. Records of older hubs carry no hash and pass.
fn check_hash(recorded: &CommandRecord, found: StateHash) -> Result<(), ReplayError> {
    match recorded.outcome.state_hash {
        Some(hash) if hash != found => Err(ReplayError::StateHash {
            seq: recorded.seq(),
            recorded: hash,
            found,
        }),
        Some(_) | None => Ok(()),
    }
}

/// State of one session.
#[derive(Debug, PartialEq)]
pub struct Session {
    header: SessionHeader,
    rules: Rules,
    document: Document,
    seq: Seq,
    history: History,
    saves: SaveState,
    changes: LastChanges,
    window: Window,
    last_activity: Timestamp,
}

/// State of a session at one `seq`, from which replay can begin instead of from the first record.
///
/// Contains the document, the history and the bookkeeping, but not the replay window. Taking a snapshot is cheap: large
/// parts are shared with the session until either side changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `seq` of the last event that the snapshot contains.
    pub seq: Seq,
    /// Graph, extras and template at `seq`.
    pub document: Document,
    history: Stacks,
    saves: SaveState,
    changes: LastChanges,
    last_activity: Timestamp,
    /// Hash of the graph. `None` in snapshots of older hubs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state_hash: Option<StateHash>,
}

impl Snapshot {
    /// Returns false if the graph has another hash than the snapshot states: the snapshot is damaged (P12).
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.state_hash
            .is_none_or(|hash| hash == self.document.graph.state_hash())
    }
}

impl Session {
    /// Returns a session before its first command.
    #[must_use]
    pub fn new(header: SessionHeader, rules: Rules) -> Self {
        Self {
            last_activity: header.created_at,
            header,
            rules,
            document: Document::default(),
            seq: Seq::ZERO,
            history: History::default(),
            saves: SaveState::default(),
            changes: LastChanges::default(),
            window: Window::default(),
        }
    }

    /// Rebuilds a session from its log, or from a snapshot and the records after it. Records before the snapshot only
    /// fill the replay window.
    ///
    /// # Errors
    /// Returns the first contradiction if commands of a hub cannot have written the log.
    pub fn replay(
        header: SessionHeader,
        rules: Rules,
        snapshot: Option<Snapshot>,
        log: impl IntoIterator<Item = Arc<CommandRecord>>,
    ) -> Result<Self, ReplayError> {
        let mut session = Self::new(header, rules);
        if let Some(snapshot) = snapshot {
            session.seq = snapshot.seq;
            session.document = snapshot.document;
            session.history = History::restore(snapshot.history);
            session.saves = snapshot.saves;
            session.changes = snapshot.changes;
            session.last_activity = snapshot.last_activity;
        }
        let snapshot_seq = session.seq;
        let mut previous: Option<Seq> = None;
        for mut recorded in log {
            let found = recorded.first_seq;
            if let Some(after) = previous.replace(recorded.seq()).filter(|after| after.plus(1) != found) {
                return Err(ReplayError::Gap { after, found });
            }
            if recorded.seq() > snapshot_seq {
                session.replay_record(&recorded)?;
            } else {
                if recorded.seq() == snapshot_seq {
                    check_hash(&recorded, session.document.graph.state_hash())?;
                }
                session.intern(&mut recorded);
                session.push_window(&recorded);
            }
        }
        Ok(session)
    }

    /// Returns the present state, to begin a later replay with.
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

    /// Applies a record of the log to the session.
    ///
    /// # Errors
    /// Fails if the record does not follow from the state, or if the graph after the record has another hash than the
    /// record states. A record that was decided on the same state never fails. After an error the session is unusable,
    /// because a part of the record may have been applied.
    pub fn replay_record(&mut self, recorded: &Arc<CommandRecord>) -> Result<(), ReplayError> {
        let before = self.apply_events(recorded)?;
        check_hash(recorded, self.document.graph.state_hash())?;
        self.fold(recorded, before.as_ref()).map(drop)
    }

    /// Applies a change that was [decided](super::decide::decide) on the present state. Returns the record to append,
    /// with the hash of the graph after the change, and the commands that left the replay window to make room for the
    /// record.
    ///
    /// The document is changed in place: only parts that another owner still shares are copied.
    ///
    /// # Errors
    /// As [`Session::replay_record`].
    pub fn commit(&mut self, mut decided: CommandRecord) -> Result<(Arc<CommandRecord>, Vec<CommandId>), ReplayError> {
        let before = self.apply_events(&decided)?;
        decided.outcome.state_hash = Some(self.document.graph.state_hash());
        let recorded = Arc::new(decided);
        let evicted = self.fold(&recorded, before.as_ref())?;
        Ok((recorded, evicted))
    }

    /// Applies a record's events to the document. Returns the previous document if the record replaces the whole
    /// document.
    fn apply_events(&mut self, recorded: &CommandRecord) -> Result<Option<Document>, ReplayError> {
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
                .map_err(|error| ReplayError::Graph { seq, error })?;
            self.changes.record_event(event, seq);
            self.saves.record_event(event, seq);
        }
        Ok(before)
    }

    /// Updates history, counters and replay window for a record whose events have been applied.
    fn fold(
        &mut self,
        recorded: &Arc<CommandRecord>,
        before: Option<&Document>,
    ) -> Result<Vec<CommandId>, ReplayError> {
        self.history
            .fold(recorded, before, &self.rules.limits)
            .map_err(ReplayError::History)?;
        self.seq = recorded.seq();
        self.last_activity = recorded.timestamp;
        Ok(self.push_window(recorded))
    }

    /// Interns the texts of a record that was read from the log. Snapshot and records are decoded independently and
    /// repeat the same texts. Sharing restores the single copy that existed before the session was unloaded.
    fn intern(&mut self, recorded: &mut Arc<CommandRecord>) {
        if let Some(own) = Arc::get_mut(recorded) {
            own.events
                .iter_mut()
                .for_each(|event| event.intern_from(&self.document));
        }
        self.history.intern(recorded);
    }

    fn push_window(&mut self, recorded: &Arc<CommandRecord>) -> Vec<CommandId> {
        self.window.push(recorded, &self.rules.limits)
    }

    /// Returns the immutable header.
    #[must_use]
    pub const fn header(&self) -> &SessionHeader {
        &self.header
    }

    /// Returns the template in force: the document's own, or else the template that the session began with.
    #[must_use]
    pub fn template_id(&self) -> Option<&TemplateId> {
        template_in_force(&self.header, &self.document)
    }

    /// Replaces the template for later commands. Existing nodes are not changed or checked.
    pub fn set_blueprint(&mut self, blueprint: Option<Arc<Blueprint>>) {
        self.rules.blueprint = blueprint;
    }

    /// Returns the template and the limits in force.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Returns the graph with its extras and template. Cloning the document is cheap.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// Returns the `seq` of the last event, zero before the first.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Returns the undo and redo history.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Returns true if there are changes that no project file contains.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.saves.is_dirty()
    }

    /// Returns the time of the last recorded command, or the time at which the session began.
    #[must_use]
    pub const fn last_activity(&self) -> Timestamp {
        self.last_activity
    }

    /// Returns the number of events in the replay window.
    #[must_use]
    pub const fn window_events(&self) -> usize {
        self.window.events()
    }

    /// Returns the estimated size of the replay window's records, in bytes of memory.
    #[must_use]
    pub const fn window_bytes(&self) -> usize {
        self.window.bytes()
    }

    /// Returns the `seq` of the last change of the document, of any kind.
    #[must_use]
    pub const fn last_change(&self) -> Seq {
        self.saves.last_change()
    }

    /// Returns the `seq` of the last change of a node: its name, properties, place or list of children.
    #[must_use]
    pub fn changed(&self, node_id: NodeId) -> Seq {
        self.changes.of_node(node_id)
    }

    /// Returns the `seq` of the last change of the list of roots.
    #[must_use]
    pub fn last_change_of_roots(&self) -> Seq {
        self.changes.of_roots()
    }

    /// Returns the record of a command if the replay window still contains it.
    #[must_use]
    pub fn recent(&self, command_id: CommandId) -> Option<&Arc<CommandRecord>> {
        self.window.of_command(command_id)
    }

    /// Returns true if the replay window contains the whole log. Otherwise only the log can tell if a command was
    /// accepted before.
    #[must_use]
    pub fn window_is_complete(&self) -> bool {
        self.window.first_seq().unwrap_or(self.seq.plus(1)) == Seq(1)
    }

    /// Returns the records with the events after `seq`, oldest first, or `None` if the replay window does not reach
    /// back to `seq`. The first record may begin before `seq`.
    #[must_use]
    pub fn since(&self, seq: Seq) -> Option<impl Iterator<Item = &Arc<CommandRecord>>> {
        // A record that begins before `seq` contains the events after `seq` as well. A `seq` before the first record is
        // out of reach.
        let oldest = self.window.first_seq();
        let reached = seq <= self.seq && oldest.is_none_or(|oldest| oldest <= seq.plus(1));
        reached.then(|| self.window.after(seq))
    }

    /// Returns the record with the event at `seq`, if the replay window contains it.
    pub(super) fn record_at(&self, seq: Seq) -> Option<&Arc<CommandRecord>> {
        let before = Seq(seq.0.checked_sub(1)?);
        self.since(before)?.next()
    }

    pub(super) fn is_dirty_after(&self, events: &[Event]) -> bool {
        let mut saves = self.saves;
        for (event, seq) in events.iter().zip(self.seq.plus(1).0..) {
            saves.record_event(event, Seq(seq));
        }
        saves.is_dirty()
    }
}

/// Returns the document right after the event at `seq` `at`, which may lie within a command.
///
/// # Errors
/// Fails if the records do not follow from the snapshot (or from an empty document without a snapshot), if the graph
/// after a record has another hash than the record states, or if the records end before `at`.
pub fn document_at(snapshot: Option<&Snapshot>, log: &[Arc<CommandRecord>], at: Seq) -> Result<Document, ReplayError> {
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
            let error = |error| ReplayError::Graph { seq: Seq(place), error };
            event.apply(&mut document).map_err(error)?;
        }
        // A graph in the middle of a record has no recorded hash. The last `seq` of a record is its closing event,
        // which changes nothing, so the graph is complete at the preceding `seq`.
        if at.plus(1) >= recorded.seq() {
            check_hash(recorded, document.graph.state_hash())?;
        }
        seq = recorded.seq();
    }
    // Without this check a truncated log would yield an earlier graph.
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
    use crate::{
        command::{Author, Command, Context, CreateNode, Scope},
        decide::{Decision, decide},
        graph::Graph,
        value::Value,
    };

    fn header() -> SessionHeader {
        SessionHeader {
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

    /// Sends the next command of the session, which has to change the document.
    fn change(session: &mut Session, command: &Command) -> Arc<CommandRecord> {
        let context = Context {
            command_id: CommandId::new(Uuid::from_u128(session.seq().0.into())),
            author: Author::default(),
            now: Timestamp(0),
            expected_seq: None,
        };
        let Ok(Decision::Change(decided)) = decide(session, command, &context) else {
            unreachable!("{command:?} changes something");
        };
        session.commit(decided).expect("fits").0
    }

    /// Opening a project leaves nothing to save. An undo or redo of the opening makes the session dirty, because the
    /// file may have been written in between.
    #[test]
    fn dirty_flag_is_clear_after_load_from_file() {
        let mut session = Session::new(header(), rules());
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

    /// Returns a copy of a record with another node name, as a flipped bit in the log would produce.
    fn renamed(recorded: &Arc<CommandRecord>, name: &str) -> Arc<CommandRecord> {
        let mut other = CommandRecord::clone(recorded);
        if let Event::NodeCreated { content, .. } = &mut other.events[0] {
            content.name = name.into();
        }
        Arc::new(other)
    }

    /// Returns a session and its log, with the hash of the graph in each record.
    fn logged(names: &[&str]) -> (Session, Vec<Arc<CommandRecord>>) {
        let (mut session, mut log) = (Session::new(header(), rules()), Vec::new());
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
                author: Author::default(),
                now: Timestamp(0),
                expected_seq: None,
            };
            let Ok(Decision::Change(decided)) = decide(&session, &create, &context) else {
                unreachable!("it creates a node");
            };
            log.push(session.commit(decided).expect("fits").0);
        }
        (session, log)
    }

    /// P12: replay refuses a record whose graph differs from the graph that was hashed at the write. The error names
    /// the record and both hashes.
    #[test]
    fn replay_rejects_graph_with_other_hash() {
        let (session, mut log) = logged(&["a", "b", "c"]);
        let recorded = log[1].outcome.state_hash.expect("hashed");
        log[1] = renamed(&log[1], "B");
        let refused = Session::replay(header(), rules(), None, log.clone()).expect_err("another graph");
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
        // Behind an intact snapshot the damaged record only fills the replay window.
        assert!(Session::replay(header(), rules(), Some(session.snapshot()), log).is_ok());
    }

    /// P12: a damaged snapshot contradicts its own hash and the hash of the record that it was taken after.
    #[test]
    fn snapshot_with_other_hash_is_rejected() {
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
        let replayed = Session::replay(header(), rules(), Some(damaged), log).expect_err("another graph");
        assert!(matches!(replayed, ReplayError::StateHash { seq: Seq(4), .. }));
    }

    /// P12: a request for a `seq` beyond the last record fails instead of yielding an earlier graph.
    #[test]
    fn document_at_rejects_truncated_log() {
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

    /// Equal texts and records are shared after replay: the step and the replay window hold the same record, and the
    /// node shares the texts of its event.
    #[test]
    fn replayed_session_shares_equal_texts() {
        let mut session = Session::new(header(), rules());
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
        let read = Session::replay(header(), rules(), Some(snapshot), log).expect("sound");
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
