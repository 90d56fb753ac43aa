//! Commands that are valid for the current graph.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::random::Random;

/// Number of nodes beyond which more nodes are deleted than created.
const NODES: usize = 80;

const TEXTS: &[&str] = &[
    "",
    "a",
    "Straße",
    "日本語",
    "\u{1F600}",
    "\"\\\u{7}",
    "null",
    "0",
    "\u{2028}",
    "x y  z",
];
/// Ends of names: visible characters on one line.
const NAMES: &[&str] = &["", "a", "Straße", "日本語", "\u{1F600}", "\"\\/", "null", "x y  z"];
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1.50",
    "1e308",
    "-1",
    "9007199254740993",
    "0.1",
    "1E-7",
    "18446744073709551616",
];

/// Node of a graph, and its place in the tree.
#[derive(Debug, Clone)]
pub struct Place {
    pub id: String,
    node_type: String,
    parent: Option<String>,
    /// Ids of the ancestors from the root down, and of the node itself.
    path: Vec<String>,
    children: usize,
    siblings: usize,
    properties: Vec<String>,
}

/// Allowed types of children by the id of the parent's type. Empty without a template.
pub type Types = BTreeMap<String, Vec<String>>;

/// Returns every node of a graph.
pub fn places(graph: &Value) -> Vec<Place> {
    let mut found = Vec::new();
    visit(&graph["roots"], None, &[], &mut found);
    found
}

fn visit(nodes: &Value, parent: Option<&str>, above: &[String], found: &mut Vec<Place>) {
    let nodes = nodes.as_array().expect("a list of nodes");
    for node in nodes {
        let id = node["id"].as_str().expect("an id").to_owned();
        let path = [above, std::slice::from_ref(&id)].concat();
        found.push(Place {
            node_type: node["blueprint_type_id"].as_str().expect("a type").to_owned(),
            parent: parent.map(str::to_owned),
            children: node["children"].as_array().expect("a list").len(),
            siblings: nodes.len(),
            properties: node["properties"]
                .as_object()
                .expect("an object")
                .keys()
                .cloned()
                .collect(),
            path: path.clone(),
            id: id.clone(),
        });
        visit(&node["children"], Some(&id), &path, found);
    }
}

/// Returns type and data of a random command.
pub fn command(random: &mut Random, graph: &Value, types: &Types) -> (&'static str, Value) {
    let places = places(graph);
    if types.is_empty() {
        free(random, &places)
    } else {
        typed(random, &places, types)
    }
}

/// Returns a command for a session without a template, which allows everything.
fn free(random: &mut Random, places: &[Place]) -> (&'static str, Value) {
    if places.is_empty() {
        return create(random, places);
    }
    let place = random.pick(places).clone();
    let (id, full) = (place.id.clone(), places.len() > NODES);
    match random.below(100) {
        0..8 if !full => create(random, places),
        0..30 if full => ("DeleteNode", json!({"node_id": id})),
        8..30 => create(random, places),
        30..34 => ("DeleteNode", json!({"node_id": id})),
        34..46 => {
            let Some(parent) = outside(random, places, &place) else {
                return ("MoveNode", json!({"node_id": id, "new_parent_id": null}));
            };
            let same = parent
                .as_ref()
                .is_some_and(|parent| place.parent.as_ref() == Some(&parent.id));
            let room = parent.as_ref().map_or(0, |parent| parent.children - usize::from(same));
            let mut data = json!({"node_id": id, "new_parent_id": parent.map(|parent| parent.id)});
            if random.chance(50) {
                data["index"] = json!(random.below(room + 1));
            }
            ("MoveNode", data)
        }
        46..52 => (
            "ReorderNode",
            json!({"node_id": id, "new_index": random.below(place.siblings)}),
        ),
        52..60 => match (&place.parent, outside(random, places, &place)) {
            (Some(parent), _) => ("UnlinkNode", json!({"parent_id": parent, "child_id": id})),
            (None, Some(Some(parent))) => ("LinkNode", json!({"parent_id": parent.id, "child_id": id})),
            _ => rename(random, &id),
        },
        60..66 => match place.properties.first() {
            Some(property) => ("DeleteProperty", json!({"node_id": id, "property_id": property})),
            None => rename(random, &id),
        },
        66..84 => {
            let property = format!("p{}", random.below(4));
            let data = json!({"node_id": id, "property_id": property, "new_value": value(random, 0)});
            ("UpdateProperty", data)
        }
        84..90 => rename(random, &id),
        _ => batch(random, places),
    }
}

/// Returns a command that the types of a template allow.
fn typed(random: &mut Random, places: &[Place], types: &Types) -> (&'static str, Value) {
    if places.is_empty() {
        let types: Vec<&String> = types.keys().collect();
        return ("CreateNode", json!({"blueprint_type_id": random.pick(&types)}));
    }
    let place = random.pick(places).clone();
    let allowed = types.get(&place.node_type).map_or(&[][..], Vec::as_slice);
    match random.below(10) {
        0..5 if !allowed.is_empty() && places.len() < NODES => {
            let data = json!({"blueprint_type_id": random.pick(allowed), "parent_id": place.id, "name": name(random)});
            ("CreateNode", data)
        }
        5 if place.children == 0 && place.parent.is_some() => ("DeleteNode", json!({"node_id": place.id})),
        6 if place.parent.is_some() => (
            "ReorderNode",
            json!({"node_id": place.id, "new_index": random.below(place.siblings)}),
        ),
        _ => rename(random, &place.id),
    }
}

fn create(random: &mut Random, places: &[Place]) -> (&'static str, Value) {
    let mut data = json!({"blueprint_type_id": random.pick(&["task", "bug", "Ünï"]), "name": name(random)});
    if random.chance(70) && !places.is_empty() {
        let parent = random.pick(places);
        data["parent_id"] = json!(parent.id);
        if random.chance(40) {
            data["index"] = json!(random.below(parent.children + 1));
        }
    }
    if random.chance(50) {
        data["node_id"] = json!(random.uuid());
    }
    if random.chance(40) {
        data["properties"] = json!({"p0": value(random, 0), "p1": value(random, 0)});
    }
    ("CreateNode", data)
}

/// Returns a batch that creates a subtree and renames an existing node.
fn batch(random: &mut Random, places: &[Place]) -> (&'static str, Value) {
    let mut commands = Vec::new();
    let mut parent = random.chance(60).then(|| random.pick(places).id.clone());
    for _ in 0..=random.below(6) {
        let id = random.uuid();
        let data = json!({"blueprint_type_id": "task", "name": name(random), "parent_id": parent, "node_id": id});
        commands.push(json!({"command_type": "CreateNode", "data": data}));
        let data = json!({"node_id": id, "property_id": "p2", "new_value": value(random, 0)});
        commands.push(json!({"command_type": "UpdateProperty", "data": data}));
        if random.chance(60) {
            parent = Some(id);
        }
    }
    let (command_type, data) = rename(random, &random.clone().pick(places).id);
    commands.push(json!({"command_type": command_type, "data": data}));
    ("Batch", json!({"commands": commands}))
}

/// Returns a node outside a subtree. `None` if all nodes are within it.
fn outside(random: &mut Random, places: &[Place], place: &Place) -> Option<Option<Place>> {
    let free: Vec<&Place> = places.iter().filter(|other| !other.path.contains(&place.id)).collect();
    if free.is_empty() {
        return None;
    }
    Some(Some((*random.pick(&free)).clone()))
}

fn rename(random: &mut Random, id: &str) -> (&'static str, Value) {
    let data = json!({"node_id": id, "property_id": "name", "new_value": name(random)});
    ("UpdateProperty", data)
}

fn name(random: &mut Random) -> String {
    let number = random.below(1_000);
    format!("{number}{}", random.pick(NAMES))
}

/// Returns a random value, mostly small, sometimes nested.
pub fn value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth < 3 { 8 } else { 5 }) {
        0 => Value::Null,
        1 => json!(random.chance(50)),
        2 => serde_json::from_str(random.pick::<&str>(NUMBERS)).expect("a number"),
        3 | 4 => json!(random.pick(TEXTS)),
        5 => (0..random.below(4)).map(|_| value(random, depth + 1)).collect(),
        6 => json!({"a": value(random, depth + 1), "": value(random, depth + 1)}),
        _ => json!("x".repeat(random.below(300))),
    }
}

/// Returns a graph for a load.
pub fn graph(random: &mut Random) -> Value {
    let nodes = |random: &mut Random, below: Vec<Value>| {
        json!({"id": random.uuid(), "name": name(random), "blueprint_type_id": "task", "properties": {"p0": value(random, 0)},
               "children": below})
    };
    let mut roots = Vec::new();
    for _ in 0..random.below(4) {
        let below = (0..random.below(4)).map(|_| nodes(random, Vec::new())).collect();
        roots.push(nodes(random, below));
    }
    json!({ "roots": roots })
}
