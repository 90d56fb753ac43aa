//! Sample sessions and records: outcomes of real commands that cover each kind of event and each optional part of a
//! record.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use crate::domain::{
    command::{Author, Command, Context, CreateNode, Scope},
    decide::{Decision, decide},
    ids::{CommandId, Epoch, NodeId, SessionId, Timestamp},
    limits::Limits,
    record::CommandRecord,
    session::{Project, Rules, Session, SessionHeader},
    value::Value,
};

pub(super) fn session_id(number: u64) -> SessionId {
    SessionId::new(Uuid::from_u64_pair(0x5e55_1011, number))
}

pub(super) fn header(number: u64, with_project: bool) -> SessionHeader {
    let project = with_project.then(|| Project {
        project_id: format!("project-{number}").parse().expect("a slug"),
        project_name: format!("Projekt № {number} “ünï”").into(),
        template_id: number.is_multiple_of(2).then(|| "restomod.v2".parse().expect("a name")),
    });
    SessionHeader {
        session_id: session_id(number),
        epoch: Epoch::new(u32::try_from(number).expect("few sessions")),
        created_at: Timestamp(1_700_000_000_000 + 7 * i64::try_from(number).expect("few sessions")),
        project,
    }
}

/// Returns the first `count` records of a session; the records differ between seeds.
pub(super) fn records(seed: u8, count: usize) -> Vec<Arc<CommandRecord>> {
    let mut writer = Writer::new(seed);
    (0..count).map(|_| writer.next()).collect()
}

/// Returns `count` further records after those that [`records`] returned.
pub(super) fn following(seed: u8, before: &[Arc<CommandRecord>], count: usize) -> Vec<Arc<CommandRecord>> {
    records(seed, before.len() + count).split_off(before.len())
}

/// Repeats a round of commands. Each command changes the session, whatever preceded it.
struct Writer {
    session: Session,
    seed: u8,
    number: u64,
}

impl Writer {
    fn new(seed: u8) -> Self {
        let rules = Rules {
            blueprint: None,
            limits: Arc::new(Limits::default()),
        };
        Self {
            session: Session::new(header(seed.into(), false), rules),
            seed,
            number: 0,
        }
    }

    fn next(&mut self) -> Arc<CommandRecord> {
        self.number += 1;
        let context = Context {
            command_id: self.command_id(),
            author: self.author(),
            now: Timestamp(1_700_000_100_000 + i64::try_from(self.number).expect("few commands")),
            expected_seq: None,
        };
        let decision = decide(&self.session, &self.command(), &context).expect("each command of the round is allowed");
        let Decision::Change(decided) = decision else {
            unreachable!("each command of the round changes something");
        };
        self.session.commit(decided).expect("the record applies").0
    }

    /// Scattered ids: their order differs from the order of the commands.
    fn command_id(&self) -> CommandId {
        let scattered = self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        CommandId::new(Uuid::from_u64_pair(scattered, self.seed.into()))
    }

    fn author(&self) -> Author {
        Author {
            client_id: self
                .number
                .is_multiple_of(2)
                .then(|| format!("client_{}", self.seed).parse().expect("a client id")),
            user: self
                .number
                .is_multiple_of(3)
                .then(|| "Ada \"the first\" O'Hara\n".into()),
        }
    }

    fn command(&self) -> Command {
        let round = self.number / 10;
        let root = self.node(round, 0);
        let child = self.node(round, 1);
        match self.number % 10 {
            0 => create(root, None, &format!("round {round} 🌱"), &[]),
            1 => create(
                child,
                self.any_root(),
                "child",
                &[("estimate", "1.50"), ("tags", r#"["a", {"b": null}]"#)],
            ),
            2 => update(self.any_root(), "note", r#""it's 100 % \"quoted\" — 日本語 \u0000 \\""#),
            3 => update(
                self.any_root(),
                "estimate",
                &format!("12345678901234567890123456789{round}"),
            ),
            4 => Command::Batch {
                commands: (2..6)
                    .map(|at| create(self.node(round, at), None, "one of four", &[]))
                    .collect(),
            },
            5 => Command::undo(Scope::Session),
            6 => Command::redo(Scope::Session),
            7 => Command::DeleteProperty {
                node_id: self.any_root().expect("a root"),
                property: "note".into(),
            },
            8 => Command::SaveProject {
                file: "brönco.json".into(),
                through: self.session.seq(),
            },
            _ => Command::LoadGraph {
                graph: self.session.document().graph.clone(),
                extras: Some(Arc::new(BTreeMap::from([("view".into(), value(r#"{"zoom": 1.0}"#))]))),
                from_file: self.number.is_multiple_of(2),
                template_id: None,
            },
        }
    }

    /// Returns the first root.
    fn any_root(&self) -> Option<NodeId> {
        self.session.document().graph.roots().iter().next()
    }

    fn node(&self, round: u64, at: u64) -> NodeId {
        NodeId::new(Uuid::from_u64_pair(self.seed.into(), 1_000 + 100 * round + at))
    }
}

fn create(node_id: NodeId, parent_id: Option<NodeId>, name: &str, properties: &[(&str, &str)]) -> Command {
    let properties = properties.iter().map(|(key, json)| ((*key).into(), value(json)));
    Command::CreateNode(CreateNode {
        node_type: "task".into(),
        name: Some(name.into()),
        parent_id,
        index: None,
        properties: properties.collect(),
        node_id: Some(node_id),
    })
}

fn update(node_id: Option<NodeId>, property: &str, json: &str) -> Command {
    Command::UpdateProperty {
        node_id: node_id.expect("a root"),
        property: property.into(),
        new_value: value(json),
    }
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}
