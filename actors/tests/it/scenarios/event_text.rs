//! Text form of events: one line each, with all fields:
//!
//! ```text
//!  created b at a[0]: t "b" {color: "red"}      deleted b at a[0]: t "b"
//!  linked b to a[0], was roots[1]               unlinked b from a[0]
//!  b.color: nothing -> "red"                    b.color: "red" -> gone
//!  saved demo.json through 7                    loaded 3 nodes
//! ```
//!
//! Nodes are named by their letter, and nodes with a derived id by the numbers of command and node, such as `<3.0>`.
//! Uuids of the sample template are shown in braces: the type `{task}`, the property `{task.done}`, the option
//! `{task.priority=Low}`.

use std::fmt::Write as _;

use talus_actors::domain::{
    blueprint::PropertyKind,
    content::NodeContent,
    event::{Event, PropertyRef},
    ids::NodeId,
    testing::{harness::Harness, sample},
    value::Value,
};

use super::commands::node;

pub fn event_line(event: &Event) -> String {
    let line = match event {
        Event::NodeCreated {
            node_id,
            parent_id,
            index,
            content,
        } => format!(
            "created {node_id} at {}: {}",
            place(*parent_id, *index),
            content_of(content)
        ),
        Event::NodeDeleted {
            node_id,
            parent_id,
            index,
            content,
        } => format!(
            "deleted {node_id} at {}: {}",
            place(*parent_id, *index),
            content_of(content)
        ),
        Event::NodeLinked {
            parent_id,
            child_id,
            index,
            root_index,
        } => format!(
            "linked {child_id} to {}, was {}",
            place(*parent_id, *index),
            place(None, *root_index)
        ),
        Event::NodeUnlinked {
            parent_id,
            child_id,
            index,
        } => format!("unlinked {child_id} from {}", place(*parent_id, *index)),
        Event::PropertyChanged {
            node_id,
            property,
            before,
            after,
            ..
        } => {
            let before = before.as_ref().map_or("nothing".to_owned(), json);
            format!("{node_id}.{}: {before} -> {}", property_label(property), json(after))
        }
        Event::PropertyDeleted {
            node_id,
            property,
            before,
        } => format!("{node_id}.{}: {} -> gone", property_label(property), json(before)),
        Event::ProjectSaved { file, through } => format!("saved {file} through {through}"),
        Event::ProjectLoaded { document, .. } => format!("loaded {} nodes", document.graph.len()),
    };
    abbreviate(&line)
}

/// Replaces uuids by letters and names.
pub fn abbreviate(text: &str) -> String {
    let mut short = text.to_owned();
    let mut replace = |uuid: &str, word: &str| {
        if short.contains(uuid) {
            short = short.replace(uuid, word);
        }
    };
    for letter in b'a'..=b'z' {
        let letter = char::from(letter).to_string();
        replace(&node(&letter).to_string(), &letter);
    }
    for number in 1..20 {
        for ordinal in 0..4 {
            let derived = Harness::context(number).command_id.node(ordinal);
            replace(&derived.to_string(), &format!("<{number}.{ordinal}>"));
        }
    }
    for node_type in sample::blueprint().node_types() {
        let type_key = &node_type.key;
        replace(node_type.id.as_str(), &format!("{{{type_key}}}"));
        for property in node_type.properties() {
            let key = &property.key;
            replace(property.id.as_str(), &format!("{{{type_key}.{key}}}"));
            if let PropertyKind::Select(options) = &property.kind {
                for option in options.iter().filter(|option| *option.id != *sample::HIGH) {
                    replace(&option.id, &format!("{{{type_key}.{key}={}}}", option.name));
                }
            }
        }
    }
    short
}

fn place(parent: Option<NodeId>, index: usize) -> String {
    match parent {
        Some(parent) => format!("{parent}[{index}]"),
        None => format!("roots[{index}]"),
    }
}

fn property_label(property: &PropertyRef) -> String {
    match &property.key {
        Some(key) => format!("{}/{key}", property.id),
        None => property.id.to_string(),
    }
}

fn json(value: &Value) -> String {
    serde_json::to_string(value).expect("a value is JSON")
}

fn content_of(content: &NodeContent) -> String {
    let mut line = format!("{} {:?}", content.type_id, content.name);
    let properties: Vec<String> = content
        .properties
        .iter()
        .map(|(property, value)| format!("{property}: {}", json(value)))
        .collect();
    if !properties.is_empty() {
        let _ = write!(line, " {{{}}}", properties.join(", "));
    }
    if let Some(metadata) = &content.metadata {
        let _ = write!(line, " and {}", json(metadata));
    }
    line
}
