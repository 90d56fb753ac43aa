//! TypeScript types of the wire, for the client library, rendered from a [table]. Tests compare the table with the
//! packets that the hub writes and the commands that it reads. `UPDATE_PROTOCOL_TS=1 cargo test --lib typescript`
//! regenerates the file.

mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use serde_json::{Value, json};
use talus_actors::{
    domain::{command::CommandType, ids::Seq, record::CommandRecord},
    fan_out::SyncReason,
};

use self::table::{COMMANDS, EVENTS, INTERFACES, Interface, WITHOUT_SAMPLE};
use super::{
    ErrorCode,
    command::read_command,
    event::{self, encode_record},
};

const FILE: &str = "docs/client/src/protocol.ts";

const HEAD: &str = "// The wire contract of docs/PROTOCOL.md as types. Rendered from src/wire by a test, which fails if this file\n\
    // differs from the rendered text: UPDATE_PROTOCOL_TS=1 cargo test --lib typescript\n\n\
    /** Value of a property. Numbers are 64-bit floats in TypeScript, also where the wire has more digits. */\n\
    export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };\n";

const SYNC_REASONS: [SyncReason; 9] = [
    SyncReason::Resumed,
    SyncReason::FirstJoin,
    SyncReason::Requested,
    SyncReason::WindowExceeded,
    SyncReason::EpochChanged,
    SyncReason::AheadOfLog,
    SyncReason::SlowConsumer,
    SyncReason::Divergence,
    SyncReason::RoomRestarted,
];

/// Field: name, type, and true if the field may be absent.
type Field = (&'static str, &'static str, bool);

fn fields(interface: &Interface) -> impl Iterator<Item = Field> {
    interface.fields.split(';').map(|field| {
        let (name, of) = field.trim().split_once(": ").expect(field);
        (name.trim_end_matches('?'), of, name.ends_with('?'))
    })
}

fn interface(name: &str) -> &'static Interface {
    INTERFACES
        .iter()
        .find(|interface| interface.name == name)
        .unwrap_or_else(|| unreachable!("there is no interface {name}"))
}

/// Returns the fields of an interface, with the fields of the interfaces that it extends.
fn all_fields(name: &str) -> Vec<(&'static str, Field)> {
    let own = interface(name);
    let mut all = own.extends.map(all_fields).unwrap_or_default();
    all.extend(fields(own).map(|field| (own.name, field)));
    all
}

fn render() -> String {
    let mut text = HEAD.to_owned();
    for one in INTERFACES {
        text.push('\n');
        if !one.about.is_empty() {
            let _ = writeln!(text, "/** {} */", one.about);
        }
        let extends = one.extends.map_or(String::new(), |name| format!(" extends {name}"));
        let _ = writeln!(text, "export interface {}{extends} {{", one.name);
        for (name, of, optional) in fields(one) {
            let _ = writeln!(text, "  {name}{}: {of};", if optional { "?" } else { "" });
        }
        text.push_str("}\n");
    }
    let mut union = |name: &str, about: &str, words: &mut dyn Iterator<Item = &str>| {
        let words: Vec<String> = words.map(|word| format!("\n  | \"{word}\"")).collect();
        let _ = write!(text, "\n/** {about} */\nexport type {name} ={};\n", words.concat());
    };
    union(
        "ErrorCode",
        "Stable code of an error.",
        &mut ErrorCode::ALL.iter().map(|code| code.as_str()),
    );
    let kinds: Vec<String> = CommandType::ALL.iter().map(ToString::to_string).collect();
    union(
        "CommandKind",
        "Type of a command in an event. Some types come from the hub only.",
        &mut kinds.iter().map(String::as_str),
    );
    union(
        "SyncReason",
        "Reason of a `session:sync`.",
        &mut SYNC_REASONS.iter().map(|reason| reason.as_str()),
    );
    text.push_str(
        "\n/** Error with its code, message and further fields. */\n\
         export interface WireError {\n  code: ErrorCode;\n  message: string;\n  [detail: string]: Json;\n}\n",
    );
    text.push_str("\n/** Payload of each event. */\nexport interface Events {\n");
    for (event, of) in EVENTS {
        let _ = writeln!(text, "  \"{event}\": {of};");
    }
    text.push_str("}\n\nexport type EventName = keyof Events;\n");
    text.push_str(
        "\n/** Event with the payload of its name. */\n\
         export type HubEvent = { [K in EventName]: { event: K; data: Events[K] } }[EventName];\n",
    );
    text.push_str("\n/** Data of each command that a client can send. */\nexport interface CommandData {\n");
    for command in COMMANDS {
        let _ = writeln!(text, "  {command}: {command};");
    }
    text.push_str(
        "}\n\nexport type CommandType = keyof CommandData;\n\n\
         /** Command within a batch. */\n\
         export type InBatch = {\n  [K in Exclude<CommandType, \"Batch\">]: { command_type: K; data: CommandData[K] };\n\
         }[Exclude<CommandType, \"Batch\">];\n",
    );
    text
}

/// Checks a value against a type, and records the optional fields that are present.
fn check(of: &str, value: &Value, at: &str, seen: &mut BTreeSet<String>) -> Result<(), String> {
    let alternatives: Vec<&str> = of.split(" | ").collect();
    if alternatives.len() > 1 {
        let fits = alternatives.iter().any(|one| check(one, value, at, seen).is_ok());
        return fits.then_some(()).ok_or_else(|| format!("{at}: {value} is not {of}"));
    }
    if let Some(items) = of.strip_suffix("[]") {
        let values = value.as_array().ok_or_else(|| format!("{at}: {value} is not {of}"))?;
        return values.iter().try_for_each(|value| check(items, value, at, seen));
    }
    let fits = match of {
        "Json" => true,
        "Record<string, Json>" => value.is_object(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "true" => *value == true,
        "false" => *value == false,
        "EventName" => EVENTS.iter().any(|(name, _)| *value == *name),
        "SyncReason" => SYNC_REASONS.iter().any(|reason| *value == reason.as_str()),
        "CommandKind" => CommandType::ALL.iter().any(|kind| *value == kind.to_string()),
        "WireError" => {
            ErrorCode::ALL.iter().any(|code| value["code"] == code.as_str())
                && value["message"].is_string()
                && value.is_object()
        }
        // The payload depends on the name beside it; `check_event` checks the payload.
        "Sequenced" | "OfCommand" => true,
        name => return check_object(name, value, at, seen),
    };
    fits.then_some(()).ok_or_else(|| format!("{at}: {value} is not {of}"))
}

fn check_object(name: &str, value: &Value, at: &str, seen: &mut BTreeSet<String>) -> Result<(), String> {
    let object = value.as_object().ok_or_else(|| format!("{at}: {value} is no {name}"))?;
    let declared: BTreeMap<&str, (&str, Field)> = all_fields(name)
        .into_iter()
        .map(|(of, field)| (field.0, (of, field)))
        .collect();
    for field in object.keys() {
        if !declared.contains_key(field.as_str()) {
            return Err(format!("{at}: {name} has no {field}"));
        }
    }
    for (field, (declared_in, (_, of, optional))) in declared {
        match object.get(field) {
            Some(value) => {
                if optional {
                    seen.insert(format!("{declared_in}.{field}"));
                }
                check(of, value, &format!("{at}.{field}"), seen)?;
            }
            None if optional => {}
            None => return Err(format!("{at}: {name} needs {field}")),
        }
    }
    Ok(())
}

fn check_event(event: &str, data: &Value, seen: &mut BTreeSet<String>) -> Result<(), String> {
    let (_, of) = EVENTS
        .iter()
        .find(|(name, _)| *name == event)
        .ok_or_else(|| format!("{event} is not told of"))?;
    check(of, data, event, seen)?;
    for missed in data["events"].as_array().into_iter().flatten() {
        check_event(missed["event"].as_str().unwrap_or_default(), &missed["data"], seen)?;
    }
    Ok(())
}

/// Returns the packets of the snapshots in this folder, as name and payload. Other tests compare the snapshots with the
/// code. Answers to commands have the name `answer`.
fn snapshot_packets() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/snapshots");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("there are snapshots") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("UTF-8");
        for line in text.lines() {
            let Some((head, payload)) = line.split_once(" {") else {
                continue;
            };
            let name = head.rsplit(' ').next().unwrap_or_default().to_owned();
            let payload = serde_json::from_str(&format!("{{{payload}")).expect(line);
            found.push((name, payload));
        }
    }
    found
}

/// Returns packets of a session with a template and a user, with fields that the snapshots lack.
fn template_packets() -> Vec<(String, Value)> {
    let node = "00000000-0000-0000-0000-000000000001";
    let content = json!({"name": "A", "type_id": "t", "properties": {}, "metadata": {"orphaned": true}});
    let property = json!({"id": "fb1d8f7d-78cb-43b8-9876-6d269b86a2ec", "key": "priority"});
    let record: CommandRecord = serde_json::from_value(json!({
        "command_id": node, "command_type": "Batch", "fingerprint": 1, "timestamp": 0, "first_seq": 1,
        "origin": {"client_id": "bob", "user": "Bob"},
        "events": [
            {"node_created": {"node_id": node, "parent_id": null, "index": 0, "content": content}},
            {"property_changed": {"node_id": node, "property": property, "before": null, "after": "high", "orphaned": true}},
            {"property_deleted": {"node_id": node, "property": property, "before": "high"}},
        ],
        "outcome": {"node_ids": [node], "undo_available": true, "redo_available": false, "is_dirty": true},
    }))
    .expect("a record as the log has them");
    let room = talus_actors::fan_out::Room {
        session_id: node.parse().expect("an id"),
        project_id: None,
        epoch: talus_actors::domain::ids::Epoch::new(1),
    };
    let frames = encode_record(&room, &record, Seq::ZERO);
    let frames = frames.map(|frame| {
        let payload = serde_json::from_str(frame.data.get()).expect("JSON");
        (frame.event.to_owned(), payload)
    });
    frames.collect()
}

/// Every packet and every answer has the fields that the types declare, and no others. Every event has a sample, and
/// every optional field is present in a sample.
#[test]
fn types_match_written_packets() {
    let (mut seen, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for (name, payload) in snapshot_packets().into_iter().chain(template_packets()) {
        let checked = match name.as_str() {
            "answer" => check("Answer", &payload, "answer", &mut seen),
            event => check_event(event, &payload, &mut seen),
        };
        assert_eq!(checked, Ok(()), "{name} {payload}");
        kinds.insert(name);
    }
    for (event, sequenced) in event::EVENTS {
        // A tick has no snapshot; a sync has all its fields.
        assert!(
            kinds.contains(*event) || *event == "session:tick",
            "{event} has no sample"
        );
        let (_, of) = EVENTS.iter().find(|(name, _)| name == event).expect(event);
        let declared = interface(of).extends == Some("Sequenced");
        assert_eq!(declared, *sequenced, "{event}");
    }
    assert_eq!(EVENTS.len(), event::EVENTS.len());
    let without: BTreeSet<&str> = WITHOUT_SAMPLE.iter().map(|(field, _)| *field).collect();
    for interface in INTERFACES
        .iter()
        .filter(|interface| !COMMANDS.contains(&interface.name))
    {
        for (name, _, _) in fields(interface).filter(|(_, _, optional)| *optional) {
            let field = format!("{}.{name}", interface.name);
            assert_eq!(seen.contains(&field), !without.contains(field.as_str()), "{field}");
        }
    }
}

/// A command with all declared fields is accepted. It is refused without a required field, and accepted without an
/// optional field.
#[test]
fn types_match_accepted_commands() {
    let node = "00000000-0000-0000-0000-000000000001";
    let sample = |of: &str| match of {
        "string" | "string | null" => json!(node),
        "number" => json!(0),
        "Json" => json!(1),
        "Record<string, Json>" => json!({"a": 1}),
        "InBatch[]" => json!([{"command_type": "DeleteNode", "data": {"node_id": node}}]),
        other => unreachable!("{other} has no sample"),
    };
    let read = |command: &str, data: &Value| {
        read_command(&json!({"command_type": command, "data": data}).to_string()).map_err(|failure| failure.message)
    };
    for command in COMMANDS {
        let declared: Vec<Field> = fields(interface(command)).collect();
        let whole: Value = declared
            .iter()
            .map(|(name, of, _)| ((*name).to_owned(), sample(of)))
            .collect();
        assert!(read(command, &whole).is_ok(), "{command} {whole}");
        for (name, of, optional) in declared {
            let mut without = whole.clone();
            without.as_object_mut().expect("an object").remove(name);
            assert_eq!(read(command, &without).is_ok(), optional, "{command} without {name}");
            let mut with_null = whole.clone();
            with_null[name] = Value::Null;
            let nullable = of.ends_with("| null") || of == "Json";
            assert!(
                !nullable || read(command, &with_null).is_ok(),
                "{command} with {name} null"
            );
        }
    }
    // Every command type of a client is declared. The other types belong to the hub itself.
    for kind in CommandType::ALL.iter().map(ToString::to_string) {
        let unknown = read(&kind, &json!({})).is_err_and(|message| message.contains("is not a command type"));
        assert_eq!(unknown, !COMMANDS.contains(&kind.as_str()), "{kind}");
    }
}

#[test]
fn client_library_types_are_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let rendered = render();
    if std::env::var_os("UPDATE_PROTOCOL_TS").is_some() {
        fs::write(&path, &rendered).expect("the file can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == rendered,
        "{FILE} is not what the wire is: UPDATE_PROTOCOL_TS=1 cargo test --lib typescript"
    );
}
