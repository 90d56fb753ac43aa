//! Stable names for ids and times, so that two runs can be compared.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

/// Length of a UUID as text.
const UUID_LEN: usize = 36;

/// Names given so far.
#[derive(Default)]
pub struct Names {
    known: HashMap<String, String>,
    counts: BTreeMap<&'static str, usize>,
}

impl Names {
    /// Returns a value with times removed, and with each id replaced by its kind and a number.
    pub fn stable(&mut self, value: &Value) -> Value {
        self.field("", value)
    }

    fn field(&mut self, key: &str, value: &Value) -> Value {
        match (key, value) {
            ("timestamp" | "created_at" | "last_activity", Value::String(_)) => json!("<time>"),
            ("reconnect_in_ms", Value::Number(_)) => json!("<ms>"),
            // The hash depends on the ids.
            ("state_hash", Value::String(_)) => json!("<hash>"),
            // The template or the caller chooses these, so that they are the same in every run.
            ("blueprint_type_id" | "property_id" | "properties", _) => value.clone(),
            ("epoch", Value::String(epoch)) => json!(self.name("epoch", epoch)),
            (_, Value::String(text)) => json!(self.text(key, text)),
            (_, Value::Array(items)) => items.iter().map(|item| self.field(key, item)).collect(),
            (_, Value::Object(fields)) => Value::Object(self.fields(fields)),
            (_, Value::Null | Value::Bool(_) | Value::Number(_)) => value.clone(),
        }
    }

    /// Replaces the fields in the order of their keys, which decides the numbers.
    fn fields(&mut self, fields: &Map<String, Value>) -> Map<String, Value> {
        let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
        sorted
            .into_iter()
            .map(|(key, value)| (key.clone(), self.field(key, value)))
            .collect()
    }

    /// Returns a text with a name for each UUID in it.
    pub fn text(&mut self, key: &str, text: &str) -> String {
        let kind = match key {
            "session_id" => "session",
            "client_id" => "client",
            key if key.ends_with("command_id") => "command",
            _ => "node",
        };
        let (mut named, mut rest) = (String::new(), text);
        while let Some(at) = (0..rest.len()).find(|at| rest.get(*at..at + UUID_LEN).is_some_and(is_uuid)) {
            let (before, from) = rest.split_at(at);
            let (id, after) = from.split_at(UUID_LEN);
            named += before;
            named += &self.name(kind, id);
            rest = after;
        }
        named + rest
    }

    fn name(&mut self, kind: &'static str, id: &str) -> String {
        if let Some(name) = self.known.get(id) {
            return name.clone();
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let name = format!("{kind}-{count}");
        self.known.insert(id.to_owned(), name.clone());
        name
    }
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

#[test]
fn names_replace_ids_and_times() {
    let (one, other) = (
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "0badcafe-10b1-426f-9247-bb680e5fe0c8",
    );
    let mut names = Names::default();
    let first = names.stable(&json!({"session_id": one, "node_id": other, "timestamp": "2026-01-02T03:04:05.678Z"}));
    assert_eq!(
        first,
        json!({"session_id": "session-1", "node_id": "node-1", "timestamp": "<time>"})
    );
    let second = names.stable(&json!({"message": format!("no {other} in {one}"), "seq": 7, "epoch": "0badcafe"}));
    assert_eq!(
        second,
        json!({"message": "no node-1 in session-1", "seq": 7, "epoch": "epoch-1"})
    );
}
