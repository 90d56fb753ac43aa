//! Load of commands of every type, chosen by a seed, from many senders at once.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Reply, TestHub};

/// Random numbers from a seed (SplitMix64).
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("smaller than a usize")
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn id(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    fn value(&mut self) -> Value {
        let values = [
            json!(null),
            json!(true),
            json!(self.below(1_000)),
            json!(-0.125),
            json!(1_152_921_504_606_846_977_u64),
            json!("ä \"quoted\" \u{1F680}\n"),
            json!([1, [2, {"deep": null}], "three"]),
            json!({"text": format!("value {}", self.below(100)), "list": []}),
        ];
        self.pick(&values).clone()
    }
}

/// Node of a graph, as far as commands need it.
struct Seen {
    id: String,
    parent: Value,
    siblings: usize,
    properties: Vec<String>,
}

fn nodes_of(graph: &Value) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut ahead = vec![graph["roots"].as_array().expect("a list")];
    while let Some(siblings) = ahead.pop() {
        for node in siblings {
            seen.push(Seen {
                id: node["id"].as_str().expect("an id").to_owned(),
                parent: node["parent_id"].clone(),
                siblings: siblings.len(),
                properties: node["properties"]
                    .as_object()
                    .expect("an object")
                    .keys()
                    .cloned()
                    .collect(),
            });
            ahead.push(node["children"].as_array().expect("a list"));
        }
    }
    seen
}

/// Returns type and data of a random command on a graph. Most are allowed if the graph has not changed meanwhile.
fn command(random: &mut Random, nodes: &[Seen]) -> (&'static str, Value) {
    const PROPERTIES: &[&str] = &["cost", "done", "name", "note"];
    let create = |random: &mut Random, parent: Value| {
        let data = json!({
            "blueprint_type_id": random.pick(&["phase", "task"]), "name": format!("node {}", random.below(1_000)),
            "parent_id": parent, "properties": {"cost": random.value()},
        });
        ("CreateNode", data)
    };
    if nodes.is_empty() {
        return create(random, Value::Null);
    }
    let (one, other) = (random.pick(nodes), random.pick(nodes));
    let (child, parent) = (nodes.iter().find(|node| !node.parent.is_null()), &other.id);
    match random.below(12) {
        0 | 1 => create(random, Value::Null),
        2 | 3 => create(random, json!(parent)),
        4 => ("DeleteNode", json!({"node_id": one.id})),
        5 => {
            let root = nodes
                .iter()
                .find(|node| node.parent.is_null() && node.id != *parent)
                .unwrap_or(one);
            ("LinkNode", json!({"parent_id": parent, "child_id": root.id}))
        }
        6 => {
            let node = child.unwrap_or(one);
            let parent = if node.parent.is_null() {
                json!(parent)
            } else {
                node.parent.clone()
            };
            ("UnlinkNode", json!({"parent_id": parent, "child_id": node.id}))
        }
        7 => {
            let parent = if random.below(3) == 0 {
                Value::Null
            } else {
                json!(parent)
            };
            ("MoveNode", json!({"node_id": one.id, "new_parent_id": parent}))
        }
        8 => (
            "ReorderNode",
            json!({"node_id": one.id, "new_index": random.below(one.siblings)}),
        ),
        9 | 10 => {
            let property = *random.pick(PROPERTIES);
            let value = if property == "name" {
                json!(format!("name {}", random.below(9)))
            } else {
                random.value()
            };
            (
                "UpdateProperty",
                json!({"node_id": one.id, "property_id": property, "new_value": value}),
            )
        }
        _ => {
            let property = one.properties.first().map_or("cost", String::as_str);
            ("DeleteProperty", json!({"node_id": one.id, "property_id": property}))
        }
    }
}

fn batch(random: &mut Random, nodes: &[Seen]) -> Value {
    let id = random.id();
    let mut commands = vec![
        json!({"command_type": "CreateNode", "data": {"blueprint_type_id": "task", "node_id": id}}),
        json!({"command_type": "CreateNode", "data": {"blueprint_type_id": "task", "parent_id": id}}),
    ];
    for _ in 0..random.below(3) {
        let (command_type, data) = command(random, nodes);
        commands.push(json!({"command_type": command_type, "data": data}));
    }
    json!({"commands": commands})
}

fn graph(random: &mut Random) -> Value {
    let node = |id: String, parent: Value, children: Value| {
        json!({
            "id": id, "name": "loaded", "blueprint_type_id": "phase", "parent_id": parent,
            "properties": {"note": "from a file"}, "children": children,
        })
    };
    let (root, child) = (random.id(), random.id());
    let child = node(child, json!(root), json!([]));
    json!({"roots": [node(root, Value::Null, json!([child])), node(random.id(), Value::Null, json!([]))]})
}

/// Sends one random request, and returns its answer, accepted or not.
async fn send(hub: &TestHub, session: &str, random: &mut Random) -> Reply {
    let nodes = nodes_of(&hub.graph(session).await);
    match random.below(20) {
        0 | 1 => hub.post(&format!("/sessions/{session}/undo"), &json!({})).await,
        2 => hub.post(&format!("/sessions/{session}/redo"), &json!({})).await,
        3 | 4 => hub.execute(session, "Batch", batch(random, &nodes)).await,
        5 if random.below(4) == 0 => {
            hub.post(
                &format!("/sessions/{session}/load-graph"),
                &json!({"graph": graph(random)}),
            )
            .await
        }
        _ => {
            let (command_type, data) = command(random, &nodes);
            hub.execute(session, command_type, data).await
        }
    }
}

/// Sends `each` requests from each of `senders` senders at once, and returns the number of accepted ones. Asserts that
/// the others are refused with a code.
pub async fn storm(hub: &Arc<TestHub>, session: &str, seed: u64, senders: u64, each: usize) -> usize {
    let mut sending = JoinSet::new();
    for sender in 0..senders {
        let (hub, session) = (Arc::clone(hub), session.to_owned());
        sending.spawn(async move {
            let mut random = Random::new(seed + sender);
            let mut accepted = 0;
            for _ in 0..each {
                let reply = send(&hub, &session, &mut random).await;
                assert!(
                    matches!(reply.status, 200 | 400 | 404 | 409),
                    "{} {}",
                    reply.status,
                    reply.body
                );
                accepted += usize::from(reply.status == 200);
            }
            accepted
        });
    }
    sending.join_all().await.into_iter().sum()
}

/// Sends one command of each type, and asserts that each is accepted.
pub async fn one_of_each(hub: &TestHub, session: &str) {
    let root = hub.create_node(session, None, "root").await;
    let other = hub.create_node(session, None, "other").await;
    let child = hub.create_node(session, Some(&root), "child").await;
    for (command_type, data) in [
        ("LinkNode", json!({"parent_id": root, "child_id": other, "index": 0})),
        ("ReorderNode", json!({"node_id": other, "new_index": 1})),
        ("UnlinkNode", json!({"parent_id": root, "child_id": other})),
        ("MoveNode", json!({"node_id": child, "new_parent_id": other})),
        (
            "UpdateProperty",
            json!({"node_id": child, "property_id": "cost", "new_value": 1.5}),
        ),
        (
            "UpdateProperty",
            json!({"node_id": child, "property_id": "name", "new_value": "renamed"}),
        ),
        ("DeleteProperty", json!({"node_id": child, "property_id": "cost"})),
        ("Batch", batch(&mut Random::new(1), &[])),
        ("DeleteNode", json!({"node_id": other})),
    ] {
        hub.execute(session, command_type, data).await.ok();
    }
    for request in ["undo", "redo", "undo", "save"] {
        hub.post(&format!("/sessions/{session}/{request}"), &json!({}))
            .await
            .ok();
    }
    let loaded = json!({"graph": graph(&mut Random::new(2))});
    hub.post(&format!("/sessions/{session}/load-graph"), &loaded).await.ok();
    hub.post(&format!("/sessions/{session}/undo"), &json!({})).await.ok();
}

/// Returns the names of the sequenced events that [`one_of_each`] causes.
pub fn names_of_each() -> BTreeSet<&'static str> {
    let sequenced = talus_hub::wire::event::EVENTS
        .iter()
        .filter(|(_, sequenced)| *sequenced);
    sequenced.map(|(name, _)| *name).collect()
}
