//! Reference of a session: the pure domain with the same commands.

use std::{collections::BTreeMap, sync::Arc};

use ecow::EcoString;
use serde_json::json;
use talus_actors::{
    domain::{
        command::{Author, Command, Context, CreateNode, Scope},
        content::NodeContent,
        decide::{Decision, decide, duplicate_receipt},
        document::Document,
        graph::Graph,
        ids::{CommandId, NodeId, Seq, Timestamp, TypeId},
        limits::Limits,
        properties::Properties,
        record::{CommandRecord, Receipt},
        rejection::Rejection,
        session::{Rules, Session, SessionHeader},
        value::Value,
    },
    session_actor::Submitted,
};
use uuid::Uuid;

use super::step::{Edit, FaultKind};

/// Expected decision on a command.
pub type Verdict = Result<Decision, Rejection>;

/// Command as sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub command: Arc<Command>,
    pub context: Context,
}

/// Expected state of a session. See the [module](self).
pub struct Reference {
    pub session: Session,
    number: u128,
    /// All commands sent so far.
    pub sent: Vec<Sent>,
    records: BTreeMap<CommandId, Arc<CommandRecord>>,
    /// Fault that was injected into the session's actor and has not happened yet.
    pub pending: Option<FaultKind>,
    /// Largest number of failures of the session's actors so far.
    pub failures: usize,
}

impl Reference {
    pub fn new(number: u128, header: SessionHeader, limits: &Arc<Limits>) -> Self {
        let rules = Rules {
            blueprint: None,
            limits: Arc::clone(limits),
        };
        Self {
            session: Session::new(header, rules),
            number,
            sent: Vec::new(),
            records: BTreeMap::new(),
            pending: None,
            failures: 0,
        }
    }

    /// Returns the next command, under a new id.
    pub fn next(&mut self, edit: &Edit) -> Sent {
        let count = self.sent.len() as u64;
        let id = Uuid::from_u128((self.number << 64) + u128::from(count));
        let mut expected_seq = None;
        let mut edit = edit;
        while let Edit::Expecting { ago, edit: inner } = edit {
            expected_seq = Some(Seq(self.session.seq().0.saturating_sub(u64::from(*ago))));
            edit = inner;
        }
        let sent = Sent {
            command: Arc::new(self.command(edit)),
            context: Context {
                command_id: CommandId::new(id),
                author: Author {
                    client_id: Some(format!("client-{}", count % 3).parse().expect("a client id")),
                    user: None,
                },
                now: Timestamp(1_700_000_000_000 + i64::try_from(count).expect("few")),
                expected_seq,
            },
        };
        self.sent.push(sent.clone());
        sent
    }

    /// Returns another command under the id of an accepted one.
    pub fn reused(&self, which: u16, edit: &Edit) -> Option<Sent> {
        let used = self
            .records
            .values()
            .nth(usize::from(which) % self.records.len().max(1))?;
        let sent = self.sent_as(used.command_id);
        Some(Sent {
            command: Arc::new(self.command(edit)),
            ..sent.clone()
        })
    }

    fn sent_as(&self, id: CommandId) -> &Sent {
        let mut sent = self.sent.iter();
        sent.find(|sent| sent.context.command_id == id)
            .expect("the log has only commands that were sent")
    }

    /// Returns the expected decision on a command in the current state, with the state hash that its record will have.
    pub fn decide(&self, sent: &Sent) -> Verdict {
        if let Some(recorded) = self.records.get(&sent.context.command_id) {
            return duplicate_receipt(recorded, &sent.command).map(Decision::Receipt);
        }
        let mut decision = decide(&self.session, &sent.command, &sent.context)?;
        if let Decision::Change(decided) = &mut decision {
            let mut draft = self.session.document().clone();
            let applied = decided.events.iter().try_for_each(|event| event.apply(&mut draft));
            applied.expect("what was decided fits");
            decided.outcome.state_hash = Some(draft.graph.state_hash());
        }
        Ok(decision)
    }

    /// Returns the record of an accepted command.
    pub fn record(&self, id: CommandId) -> Option<&Arc<CommandRecord>> {
        self.records.get(&id)
    }

    /// Returns the records of all accepted commands, in order.
    pub fn log(&self) -> Vec<Arc<CommandRecord>> {
        let mut log: Vec<_> = self.records.values().cloned().collect();
        log.sort_by_key(|recorded| recorded.first_seq);
        log
    }

    /// Applies a record of the log, and asserts that it is the expected decision on a command that was sent (P1, P4,
    /// P5).
    pub fn fold(&mut self, recorded: &Arc<CommandRecord>) {
        let sent = self.sent_as(recorded.command_id).clone();
        let expected = Ok(Decision::Change(CommandRecord::clone(recorded)));
        assert_eq!(self.decide(&sent), expected, "the log has each expected decision once");
        self.session
            .replay_record(recorded)
            .expect("the record follows the one before");
        self.records.insert(recorded.command_id, Arc::clone(recorded));
    }

    /// Returns the expected effect of the injected fault on a command, and takes the fault if it happens.
    pub fn foresee(&mut self, verdict: &Verdict, has_members: bool) -> Foreseen {
        let changes = matches!(verdict, Ok(Decision::Change(_)));
        let duplicate = matches!(verdict, Ok(Decision::Receipt(Receipt { duplicate: true, .. })));
        let malformed = matches!(verdict, Err(rejection) if rejection.is_malformed());
        let foreseen = match self.pending {
            Some(FaultKind::PanicDecide) => Foreseen::Unknown { logged: false },
            Some(FaultKind::PanicApply | FaultKind::AppendError | FaultKind::AppendConflict) if changes => {
                Foreseen::Unknown { logged: false }
            }
            Some(FaultKind::AppendUnknown) if changes => Foreseen::Unknown { logged: true },
            Some(FaultKind::AppendDelay) if changes => Foreseen::Answered { faulted: true },
            Some(FaultKind::PanicBroadcast) if has_members && !duplicate && !malformed => {
                self.failures += 1;
                Foreseen::Answered { faulted: true }
            }
            _ => Foreseen::Answered { faulted: false },
        };
        match foreseen {
            Foreseen::Unknown { .. } => {
                self.pending = None;
                self.failures += 1;
            }
            Foreseen::Answered { faulted: true } => self.pending = None,
            Foreseen::Answered { faulted: false } => {}
        }
        foreseen
    }

    fn command(&self, edit: &Edit) -> Command {
        let node = |which: u16| self.node(which);
        let index = |index: Option<u8>| index.map(i64::from);
        match edit {
            Edit::Create {
                id,
                parent,
                index: place,
            } => Command::CreateNode(CreateNode {
                node_type: "task".into(),
                name: None,
                parent_id: parent.map(node),
                index: index(*place),
                properties: BTreeMap::from([("state".into(), Value::from(json!("new")))]),
                node_id: id.map(|id| NodeId::new(Uuid::from_u64_pair(0xc0de, u64::from(id)))),
            }),
            Edit::Delete(which) => Command::DeleteNode { node_id: node(*which) },
            Edit::Move {
                node: which,
                parent,
                index: place,
            } => Command::MoveNode {
                node_id: node(*which),
                new_parent_id: parent.map(node),
                index: index(*place),
            },
            Edit::Reorder { node: which, index } => Command::ReorderNode {
                node_id: node(*which),
                new_index: i64::from(*index),
            },
            Edit::Link { child, parent } => Command::LinkNode {
                parent_id: node(*parent),
                child_id: node(*child),
                index: None,
            },
            Edit::Unlink(child) => {
                let child_id = node(*child);
                let parent = self
                    .session
                    .document()
                    .graph
                    .node(child_id)
                    .and_then(talus_actors::domain::graph::Node::parent);
                Command::UnlinkNode {
                    parent_id: parent.unwrap_or(child_id),
                    child_id,
                }
            }
            Edit::Set {
                node: which,
                property,
                value,
            } => Command::UpdateProperty {
                node_id: node(*which),
                property: property_name(*property),
                new_value: Value::from(json!(value)),
            },
            Edit::Rename { node: which, name } => Command::UpdateProperty {
                node_id: node(*which),
                property: "name".into(),
                new_value: Value::from(json!(format!("node {name}"))),
            },
            Edit::Unset { node: which, property } => Command::DeleteProperty {
                node_id: node(*which),
                property: property_name(*property),
            },
            Edit::Batch(edits) => Command::Batch {
                commands: edits.iter().map(|edit| self.command(edit)).collect(),
            },
            Edit::Load { nodes } => Command::LoadGraph {
                graph: row(*nodes),
                extras: None,
                from_file: false,
                template_id: None,
            },
            Edit::Undo => Command::undo(Scope::Session),
            Edit::Redo => Command::redo(Scope::Session),
            Edit::UndoMine { force } => Command::Undo {
                scope: Scope::Mine,
                force: *force,
            },
            Edit::RedoMine { force } => Command::Redo {
                scope: Scope::Mine,
                force: *force,
            },
            Edit::Expecting { edit, .. } => self.command(edit),
        }
    }

    /// Returns a node of the graph by number. One of the numbers stands for an unknown node.
    fn node(&self, which: u16) -> NodeId {
        let graph = &self.session.document().graph;
        let at = usize::from(which) % (graph.len() + 1);
        let known = graph.walk(None).nodes().nth(at).map(|(id, _)| id);
        known.unwrap_or_else(|| NodeId::new(Uuid::from_u64_pair(0xdead, u64::from(which))))
    }

    /// Returns the expected document.
    pub fn document(&self) -> &Document {
        self.session.document()
    }
}

/// Expected effect of a fault on a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreseen {
    /// The sender gets an answer. `faulted` means that the fault has happened to the command.
    Answered { faulted: bool },
    /// The sender gets `OutcomeUnknown`. `logged` is true if the log has the command.
    Unknown { logged: bool },
}

/// Returns the expected answer to a decision.
pub fn answer(verdict: &Verdict, session: &Session) -> Result<Submitted, (Rejection, Seq)> {
    match verdict {
        Ok(Decision::Change(recorded)) => Ok(recorded.receipt()),
        Ok(Decision::Receipt(receipt)) => Ok(receipt.clone()),
        Err(rejection) => Err((rejection.clone(), session.seq())),
    }
    .map(|receipt| Submitted {
        receipt,
        epoch: session.header().epoch,
    })
}

fn property_name(which: u8) -> EcoString {
    ["state", "effort", "owner"][usize::from(which) % 3].into()
}

/// Returns a graph of this many nodes, each the child of the one before.
fn row(nodes: u8) -> Graph {
    let mut graph = Graph::default();
    let mut parent = None;
    for number in 0..nodes {
        let id = NodeId::new(Uuid::from_u64_pair(0x10ad, u64::from(number)));
        let content = NodeContent {
            type_id: TypeId::new("task"),
            name: format!("loaded {number}").into(),
            properties: Properties::new(),
            metadata: None,
        };
        graph.insert(id, content, parent, 0).expect("the id is free");
        parent = Some(id);
    }
    graph
}
