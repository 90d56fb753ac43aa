//! Snapshots of every packet and every answer as they are on the wire, so that every change of the format is seen here
//! first.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use serde_json::value::RawValue;
use talus_actors::{
    domain::{
        command::{Author, Command, CommandType, Context, CreateNode, Scope},
        decide::{Decision, decide},
        graph::Graph,
        ids::{CommandId, Epoch, NodeId, Seq, SessionId, Timestamp},
        limits::Limits,
        rejection::Rejection,
        session::{Project, Rules, Session, SessionHeader},
        value::Value,
    },
    fan_out::{
        CommandNotice, Encoder, Frame, MemberInfo, PresenceDiff, PresenceEntry, Sync, SyncContent, SyncReason, Verdict,
    },
};
use uuid::Uuid;

use super::{
    answer::{CommandAnswer, HistoryEntry},
    room::{ClientLimits, WireEncoder, room_of},
};

const NOW: Timestamp = Timestamp(1_764_000_000_123);

/// Session with constant ids and times, and a transcript of its packets.
struct Transcript {
    session: Session,
    commands: u128,
    text: String,
}

impl Transcript {
    fn new() -> Self {
        let header = SessionHeader {
            session_id: SessionId::new(Uuid::from_u128(0x5e55)),
            epoch: Epoch::new(0xe0c),
            created_at: NOW,
            project: Some(Project {
                project_id: "demo".parse().expect("a slug"),
                project_name: "Demo".into(),
                template_id: None,
            }),
        };
        let rules = Rules {
            blueprint: None,
            limits: Arc::new(Limits::default()),
        };
        Self {
            session: Session::new(header, rules),
            commands: 0,
            text: String::new(),
        }
    }

    /// Decides a command, and appends its packets and its answer to the transcript.
    fn record(&mut self, command: &Command) {
        self.commands += 1;
        let context = Context {
            command_id: CommandId::new(Uuid::from_u128(0xc000 + self.commands)),
            author: Author {
                client_id: Some("alice".parse().expect("a client id")),
                user: None,
            },
            now: NOW,
            expected_seq: None,
        };
        let verdict = match decide(&self.session, command, &context) {
            Ok(Decision::Change(decided)) => {
                let committed = self.session.commit(decided);
                Verdict::Applied(committed.expect("what is decided fits").0)
            }
            Ok(Decision::Receipt(receipt)) => Verdict::Unchanged(receipt),
            Err(rejection) => Verdict::Refused(rejection),
        };
        let receipt = match &verdict {
            Verdict::Applied(recorded) => Some(recorded.receipt()),
            Verdict::Unchanged(receipt) => Some(receipt.clone()),
            Verdict::Refused(_) => None,
        };
        let notice = CommandNotice {
            command_id: context.command_id,
            command_type: command.kind(),
            author: context.author,
            timestamp: NOW,
            verdict,
        };
        let room = room_of(self.session.header());
        let _ = writeln!(self.text, "== {}", command.kind());
        for frame in encoder().command(&room, &notice) {
            self.append(&frame);
        }
        if let Some(receipt) = receipt {
            let answer = CommandAnswer::new(room.epoch, &receipt);
            let _ = writeln!(
                self.text,
                "answer {}",
                serde_json::to_string(&answer).expect("an answer")
            );
        }
    }

    fn append(&mut self, frame: &Frame) {
        let seq = frame.seq.map_or("-".to_owned(), |seq| seq.to_string());
        let _ = writeln!(self.text, "{seq} {} {}", frame.event, frame.data);
    }

    fn sync(&mut self, reason: SyncReason, content: SyncContent) {
        let sync = Sync {
            seq: self.session.seq(),
            state_hash: self.session.document().graph.state_hash(),
            reason,
            content,
            undo_available: true,
            redo_available: false,
            timestamp: NOW,
        };
        let (room, encoder) = (room_of(self.session.header()), encoder());
        let frame = encoder.sync(&room, &sync, &encoder.sync_body(&room, &sync), &alice(), 2);
        self.append(&frame);
    }
}

fn encoder() -> WireEncoder {
    WireEncoder {
        reconnect_ms: (500, 5_000),
        limits: ClientLimits::DEFAULT,
    }
}

fn alice() -> MemberInfo {
    MemberInfo {
        client_id: "alice".parse().expect("a client id"),
        user: None,
    }
}

fn node(number: u128) -> NodeId {
    NodeId::new(Uuid::from_u128(number))
}

fn create(number: u128, parent: Option<u128>) -> Command {
    Command::CreateNode(CreateNode {
        node_type: "task".into(),
        name: Some(format!("node {number}").into()),
        parent_id: parent.map(node),
        index: None,
        properties: BTreeMap::from([("done".into(), Value::Bool(false))]),
        node_id: Some(node(number)),
    })
}

#[test]
fn command_packets_and_answers() {
    let mut transcript = Transcript::new();
    for command in [
        create(1, None),
        create(2, Some(1)),
        create(2, Some(1)),
        Command::UpdateProperty {
            node_id: node(2),
            property: "points".into(),
            new_value: serde_json::from_str("1.50").expect("a number"),
        },
        Command::UpdateProperty {
            node_id: node(2),
            property: "points".into(),
            new_value: serde_json::from_str("1.50").expect("a number"),
        },
        Command::UpdateProperty {
            node_id: node(2),
            property: "name".into(),
            new_value: Value::text("renamed"),
        },
        Command::DeleteProperty {
            node_id: node(2),
            property: "points".into(),
        },
        Command::UnlinkNode {
            parent_id: node(1),
            child_id: node(2),
        },
        Command::LinkNode {
            parent_id: node(1),
            child_id: node(2),
            index: None,
        },
        Command::MoveNode {
            node_id: node(2),
            new_parent_id: None,
            index: Some(0),
        },
        Command::ReorderNode {
            node_id: node(2),
            new_index: 1,
        },
        Command::Batch {
            commands: vec![create(3, Some(1)), create(4, Some(3))],
        },
        Command::DeleteNode { node_id: node(1) },
        Command::undo(Scope::Session),
        Command::redo(Scope::Session),
        Command::SaveProject {
            file: "demo.json".into(),
            through: Seq(35),
        },
        Command::LoadGraph {
            graph: Graph::default(),
            extras: None,
            from_file: false,
            template_id: None,
        },
        Command::undo(Scope::Session),
    ] {
        transcript.record(&command);
    }
    insta::assert_snapshot!(transcript.text);
}

#[test]
fn room_packets() {
    let mut transcript = Transcript::new();
    transcript.record(&create(1, None));
    let room = room_of(transcript.session.header());
    let document = transcript.session.document().clone();
    let records: Vec<_> = transcript.session.since(Seq(0)).expect("at hand").cloned().collect();
    transcript.text.clear();
    transcript.sync(SyncReason::FirstJoin, SyncContent::Snapshot(document));
    transcript.sync(SyncReason::Resumed, SyncContent::Events { after: Seq(1), records });
    transcript.append(&encoder().connected(&room, &alice(), 2, NOW));
    transcript.append(&encoder().disconnected(&room, &alice(), 1, "transport_close", NOW));
    let state_hash = Some(transcript.session.document().graph.state_hash());
    transcript.append(&encoder().tick(&room, Seq(2), state_hash, NOW));
    transcript.append(&encoder().draining(&room, 1_234, NOW));
    let refused = CommandNotice {
        command_id: CommandId::new(Uuid::from_u128(0xc003)),
        command_type: CommandType::DeleteNode,
        author: Author::default(),
        timestamp: NOW,
        verdict: Verdict::Refused(Rejection::NodeNotFound(node(9))),
    };
    transcript.append(&encoder().batch_frame(&room, &encoder().command(&room, &refused)));
    insta::assert_snapshot!(transcript.text);
}

/// A batched packet contains its events byte by byte, and carries the `seq` of the last sequenced event.
#[test]
fn batched_packets_equal_single_packets() {
    let mut transcript = Transcript::new();
    let room = room_of(transcript.session.header());
    let notice = |verdict| CommandNotice {
        command_id: CommandId::new(Uuid::from_u128(0xc001)),
        command_type: CommandType::UpdateProperty,
        author: Author::default(),
        timestamp: NOW,
        verdict,
    };
    let context = Context {
        command_id: CommandId::new(Uuid::from_u128(0xc001)),
        author: Author::default(),
        now: NOW,
        expected_seq: None,
    };
    let mut create = create(1, None);
    if let Command::CreateNode(node) = &mut create {
        let points = serde_json::from_str("1.50").expect("a number");
        node.properties.insert("points".into(), points);
    }
    let Ok(Decision::Change(decided)) = decide(&transcript.session, &create, &context) else {
        unreachable!("it is allowed")
    };
    let (recorded, _) = transcript.session.commit(decided).expect("what is decided fits");
    let refused = Rejection::NodeNotFound(node(9));
    let mut frames = encoder().command(&room, &notice(Verdict::Applied(recorded)));
    frames.extend(encoder().command(&room, &notice(Verdict::Refused(refused))));
    let together = encoder().batch_frame(&room, &frames);
    assert_eq!((together.event, together.seq), ("session:events", Some(Seq(2))));
    let items: Vec<_> = frames
        .iter()
        .map(|frame| format!(r#"{{"event":"{}","data":{}}}"#, frame.event, frame.data))
        .collect();
    let expected = format!(
        r#"{{"session_id":"{}","project_id":"demo","epoch":"00000e0c","events":[{}]}}"#,
        room.session_id,
        items.join(",")
    );
    assert_eq!(together.data.get(), expected);
    assert!(expected.contains("1.50"), "{expected}");
    assert_eq!(encoder().batch_frame(&room, &frames[3..]).seq, None);
}

#[test]
fn presence_packets() {
    let mut transcript = Transcript::new();
    let room = room_of(transcript.session.header());
    let entry = |name: &str, user: Option<&str>, state: Option<&str>| PresenceEntry {
        info: MemberInfo {
            client_id: name.parse().expect("a client id"),
            user: user.map(Into::into),
        },
        state: state.map(|text| RawValue::from_string(text.to_owned()).expect("JSON").into()),
    };
    let alice = entry("alice", Some("Alice"), Some(r#"{"node_id": "n", "at": 1.50}"#));
    let bob = entry("bob", None, None);
    transcript.append(&encoder().presence_state(&room, &[alice.clone(), bob.clone()], 3, NOW));
    let diff = PresenceDiff {
        joins: vec![bob],
        updates: vec![alice],
        leaves: vec!["carol".parse().expect("a client id")],
    };
    transcript.append(&encoder().presence_diff(&room, &diff, NOW));
    insta::assert_snapshot!(transcript.text);
}

#[test]
fn history_entries() {
    let mut transcript = Transcript::new();
    transcript.record(&create(1, None));
    transcript.record(&Command::undo(Scope::Session));
    let records = transcript.session.since(Seq(0)).expect("at hand");
    let entries: Vec<_> = records
        .map(|recorded| HistoryEntry::new(recorded, recorded.command_type == CommandType::CreateNode))
        .collect();
    let text = serde_json::value::to_raw_value(&entries).expect("JSON");
    insta::assert_snapshot!(RawValue::get(&text));
}
