//! Session to measure. Unlike the tests' session it keeps no log, which would grow with every iteration.

use std::{collections::BTreeMap, sync::Arc};

use talus_actors::domain::{
    command::{Command, CreateNode},
    decide::{Decision, decide},
    ids::NodeId,
    limits::Limits,
    record::CommandRecord,
    session::{Rules, Session},
    testing::{harness::Harness, sample},
    value::Value,
};
use uuid::Uuid;

/// Number of children of each node.
const CHILDREN: usize = 10;
const BATCH: usize = 1_000;

/// Session to measure, as described in the [module](self).
pub struct Subject {
    pub session: Session,
    /// Nodes, parents before children.
    pub nodes: Vec<NodeId>,
    commands: u32,
}

/// Returns the rules of measured sessions: no template, and limits for large graphs.
pub fn rules() -> Rules {
    let limits = Limits {
        nodes_max: 200_000,
        ..Limits::default()
    };
    Rules {
        blueprint: None,
        limits: Arc::new(limits),
    }
}

/// Returns the id of the `number`-th node.
pub fn node_id(number: usize) -> NodeId {
    NodeId::new(Uuid::from_u128(0x4000_8000_0000_0000_0000 + number as u128))
}

pub fn create(node_id: NodeId, parent_id: Option<NodeId>) -> Command {
    Command::CreateNode(CreateNode {
        node_type: "task".into(),
        name: Some("A task like others".into()),
        parent_id,
        index: None,
        properties: BTreeMap::new(),
        node_id: Some(node_id),
    })
}

/// Sets a property to a text of about 80 characters that contains a number.
pub fn update(node_id: NodeId, number: usize) -> Command {
    Command::UpdateProperty {
        node_id,
        property: "description".into(),
        new_value: Value::text(format!("{number:036} is what this task is about, in a line of text")),
    }
}

impl Subject {
    /// Creates an empty session.
    pub fn empty() -> Self {
        Self {
            session: Session::new(sample::header(), rules()),
            nodes: Vec::new(),
            commands: 0,
        }
    }

    /// Creates a session with a tree of `nodes` nodes, ten children to each.
    pub fn tree(nodes: usize) -> Self {
        let mut subject = Self::empty();
        subject.nodes = (0..nodes).map(node_id).collect();
        let parent = |number: usize| number.checked_sub(1).map(|index| node_id(index / CHILDREN));
        let commands: Vec<_> = (0..nodes)
            .map(|number| create(node_id(number), parent(number)))
            .collect();
        for commands in commands.chunks(BATCH) {
            let commands = commands.to_vec();
            subject.submit(&Command::Batch { commands });
        }
        subject
    }

    /// Decides a command and applies the record, as a session actor does.
    pub fn submit(&mut self, command: &Command) -> Arc<CommandRecord> {
        self.commands += 1;
        let context = Harness::context(self.commands);
        let Ok(Decision::Change(decided)) = decide(&self.session, command, &context) else {
            unreachable!("{command:?} changes something");
        };
        let committed = self.session.commit(decided);
        committed.expect("it was decided on this session").0
    }
}
