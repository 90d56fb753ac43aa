//! Commands on the wire, in one format for REST and for sockets.

use std::collections::BTreeMap;

use ecow::EcoString;
use serde::Deserialize;
use serde_json::value::RawValue;
use talus_actors::domain::{
    command::{Command, CreateNode, Scope},
    ids::{CommandId, Seq, SessionId},
    value::Value,
};

use super::{
    ErrorCode,
    error::ApiError,
    request::{id, join, node_id, non_empty, nullable, read, read_object, required},
};

/// Body of `POST /commands/execute`, or payload of `command:execute`.
#[derive(Debug, Deserialize)]
pub struct CommandRequest {
    session_id: Option<String>,
    command_type: Option<String>,
    data: Option<Box<RawValue>>,
    command_id: Option<String>,
    expected_seq: Option<Seq>,
}

/// Parsed command with the fields sent beside it.
#[derive(Debug)]
pub struct ReadCommand {
    /// Session of the command. `None`: not in the request.
    pub session_id: Option<SessionId>,
    /// Command to submit.
    pub command: Command,
    /// Id of the command. `None`: the hub assigns an id.
    pub command_id: Option<CommandId>,
    /// Sequence number that the client has seen, for conflict detection. `None`: no detection.
    pub expected_seq: Option<Seq>,
}

/// Body of an undo or redo. The body may be absent.
#[derive(Debug, Default, Deserialize)]
pub struct HistoryRequest {
    /// Scope of the undo, `session` or `mine`. `None`: `session`.
    pub scope: Option<String>,
    /// True: overrides later changes by other clients. `None`: false.
    pub force: Option<bool>,
    command_id: Option<String>,
    /// Sequence number that the client has seen, for conflict detection. `None`: no detection.
    pub expected_seq: Option<Seq>,
}

/// Parses a command.
///
/// # Errors
/// Returns `INVALID_REQUEST` with the field at fault, or `INVALID_COMMAND`.
pub fn read_command(text: &str) -> Result<ReadCommand, ApiError> {
    let request: CommandRequest = read("", text)?;
    let session_id = request.session_id.map(|text| id("", "session_id", &text)).transpose()?;
    let command_type = required("", "command_type", request.command_type)?;
    let command = parse("data", &command_type, request.data.as_deref())?;
    let command_id = request.command_id.map(|text| id("", "command_id", &text)).transpose()?;
    Ok(ReadCommand {
        session_id,
        command,
        command_id,
        expected_seq: request.expected_seq,
    })
}

impl HistoryRequest {
    /// Builds the requested undo.
    ///
    /// # Errors
    /// Returns an error if the scope is unknown.
    pub fn undo(&self) -> Result<Command, ApiError> {
        let (scope, force) = self.read()?;
        Ok(Command::Undo { scope, force })
    }

    /// Builds the requested redo.
    ///
    /// # Errors
    /// Returns an error if the scope is unknown.
    pub fn redo(&self) -> Result<Command, ApiError> {
        let (scope, force) = self.read()?;
        Ok(Command::Redo { scope, force })
    }

    /// Returns the id of the command. `None`: the hub assigns an id.
    ///
    /// # Errors
    /// Returns an error if the text is not an id.
    pub fn command_id(&self) -> Result<Option<CommandId>, ApiError> {
        let text = self.command_id.as_deref();
        text.map(|text| id("", "command_id", text)).transpose()
    }

    fn read(&self) -> Result<(Scope, bool), ApiError> {
        Ok((read_scope(self.scope.as_deref())?, self.force.unwrap_or_default()))
    }
}

/// Parses the scope of an undo or redo.
///
/// # Errors
/// Returns an error if the scope is unknown.
pub fn read_scope(scope: Option<&str>) -> Result<Scope, ApiError> {
    match scope {
        None | Some("session") => Ok(Scope::Session),
        Some("mine") => Ok(Scope::Mine),
        Some(other) => Err(ApiError::invalid_field(
            "scope",
            format!("{other:?} is not a scope; those are \"session\" and \"mine\""),
        )),
    }
}

fn parse(at: &str, command_type: &str, data: Option<&RawValue>) -> Result<Command, ApiError> {
    match command_type {
        "CreateNode" => create_node(at, data),
        "DeleteNode" => {
            let data: NodeData = read_object(at, data)?;
            Ok(Command::DeleteNode {
                node_id: node_id(at, "node_id", data.node_id)?,
            })
        }
        "LinkNode" => {
            let data: LinkData = read_object(at, data)?;
            Ok(Command::LinkNode {
                parent_id: node_id(at, "parent_id", data.parent_id)?,
                child_id: node_id(at, "child_id", data.child_id)?,
                index: data.index,
            })
        }
        "UnlinkNode" => {
            let data: LinkData = read_object(at, data)?;
            Ok(Command::UnlinkNode {
                parent_id: node_id(at, "parent_id", data.parent_id)?,
                child_id: node_id(at, "child_id", data.child_id)?,
            })
        }
        "MoveNode" => {
            let data: MoveData = read_object(at, data)?;
            let new_parent_id = required(at, "new_parent_id", data.new_parent_id)?;
            Ok(Command::MoveNode {
                node_id: node_id(at, "node_id", data.node_id)?,
                new_parent_id: new_parent_id.map(|text| id(at, "new_parent_id", &text)).transpose()?,
                index: data.index,
            })
        }
        "ReorderNode" => {
            let data: ReorderData = read_object(at, data)?;
            Ok(Command::ReorderNode {
                node_id: node_id(at, "node_id", data.node_id)?,
                new_index: required(at, "new_index", data.new_index)?,
            })
        }
        "UpdateProperty" => {
            let data: PropertyData = read_object(at, data)?;
            Ok(Command::UpdateProperty {
                node_id: node_id(at, "node_id", data.node_id)?,
                property: non_empty(at, "property_id", data.property_id)?,
                new_value: required(at, "new_value", data.new_value.or(data.value))?,
            })
        }
        "DeleteProperty" => {
            let data: PropertyData = read_object(at, data)?;
            Ok(Command::DeleteProperty {
                node_id: node_id(at, "node_id", data.node_id)?,
                property: non_empty(at, "property_id", data.property_id)?,
            })
        }
        "Batch" => batch(at, data),
        other => {
            let message = format!("{other:?} is not a command type");
            Err(ApiError::new(ErrorCode::InvalidCommand, message).with("command_type", other))
        }
    }
}

#[derive(Deserialize)]
struct CreateData {
    blueprint_type_id: Option<String>,
    name: Option<EcoString>,
    parent_id: Option<String>,
    #[serde(default, deserialize_with = "index")]
    index: Option<i64>,
    properties: Option<BTreeMap<EcoString, Value>>,
    node_id: Option<String>,
}

#[derive(Deserialize)]
struct NodeData {
    node_id: Option<String>,
}

#[derive(Deserialize)]
struct LinkData {
    parent_id: Option<String>,
    child_id: Option<String>,
    #[serde(default, deserialize_with = "index")]
    index: Option<i64>,
}

#[derive(Deserialize)]
struct MoveData {
    node_id: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    new_parent_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "index")]
    index: Option<i64>,
}

#[derive(Deserialize)]
struct ReorderData {
    node_id: Option<String>,
    #[serde(default, deserialize_with = "index")]
    new_index: Option<i64>,
}

#[derive(Deserialize)]
struct PropertyData {
    node_id: Option<String>,
    property_id: Option<String>,
    #[serde(default, deserialize_with = "double_option")]
    new_value: Option<Value>,
    #[serde(default, deserialize_with = "double_option")]
    value: Option<Value>,
}

/// Reads a present value, which may be null.
fn double_option<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reads a position in a list. A whole number beyond 64 bits is clamped to the nearest `i64`: it is beyond the end of
/// every list, and the domain refuses it with the same error as every other position beyond the end.
fn index<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let text = number.as_str();
    let whole = !text.contains(['.', 'e', 'E']);
    let nearest = || if text.starts_with('-') { i64::MIN } else { i64::MAX };
    match number.as_i64() {
        Some(index) => Ok(Some(index)),
        None if whole => Ok(Some(nearest())),
        None => Err(serde::de::Error::custom(format!("{text} is not a whole number"))),
    }
}

#[derive(Deserialize)]
struct BatchData {
    commands: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
struct BatchItem {
    command_type: Option<String>,
    data: Option<Box<RawValue>>,
}

fn create_node(at: &str, data: Option<&RawValue>) -> Result<Command, ApiError> {
    let data: CreateData = read_object(at, data)?;
    let properties = data.properties.unwrap_or_default();
    if properties.keys().any(EcoString::is_empty) {
        return Err(ApiError::invalid_field(
            join(at, "properties"),
            "a property id must not be empty",
        ));
    }
    Ok(Command::CreateNode(CreateNode {
        node_type: non_empty(at, "blueprint_type_id", data.blueprint_type_id)?,
        name: data.name,
        parent_id: data.parent_id.map(|text| id(at, "parent_id", &text)).transpose()?,
        index: data.index,
        properties,
        node_id: data.node_id.map(|text| id(at, "node_id", &text)).transpose()?,
    }))
}

/// Parses a batch. A batch within a batch is refused, so the recursion is one level deep.
fn batch(at: &str, data: Option<&RawValue>) -> Result<Command, ApiError> {
    let data: BatchData = read_object(at, data)?;
    let mut commands = Vec::new();
    for (index, inner) in required(at, "commands", data.commands)?.into_iter().enumerate() {
        let at = format!("{at}.commands[{index}]");
        let named = |failure: ApiError| failure.with("index", index);
        let inner: BatchItem = read(&at, inner.get()).map_err(named)?;
        let command_type = required(&at, "command_type", inner.command_type).map_err(named)?;
        if command_type == "Batch" {
            return Err(named(ApiError::invalid_field(
                join(&at, "command_type"),
                "a batch is not part of a batch",
            )));
        }
        let command = parse(&join(&at, "data"), &command_type, inner.data.as_deref()).map_err(named)?;
        commands.push(command);
    }
    Ok(Command::Batch { commands })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field_of(body: &serde_json::Value) -> (String, ErrorCode) {
        let failure = read_command(&body.to_string()).expect_err("the request is at fault");
        (
            failure
                .details
                .get("field")
                .map(|field| field.as_str().unwrap_or_default().to_owned())
                .unwrap_or_default(),
            failure.code,
        )
    }

    #[test]
    fn command_faults_name_their_field() {
        let node = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let execute = |command_type: &str, data: serde_json::Value| json!({"session_id": node, "command_type": command_type, "data": data});
        for (body, field, code) in [
            (json!({"session_id": 7}), "session_id", ErrorCode::InvalidRequest),
            (json!({"session_id": "x"}), "session_id", ErrorCode::InvalidRequest),
            (json!({"session_id": node}), "command_type", ErrorCode::InvalidRequest),
            (json!([]), "body", ErrorCode::InvalidRequest),
            (execute("Explode", json!({})), "", ErrorCode::InvalidCommand),
            (
                execute("CreateNode", json!({})),
                "data.blueprint_type_id",
                ErrorCode::InvalidRequest,
            ),
            (
                execute("CreateNode", json!({"blueprint_type_id": ""})),
                "data.blueprint_type_id",
                ErrorCode::InvalidRequest,
            ),
            (
                execute("CreateNode", json!({"blueprint_type_id": "t", "index": 1.5})),
                "data.index",
                ErrorCode::InvalidRequest,
            ),
            (
                execute("CreateNode", json!({"blueprint_type_id": "t", "properties": []})),
                "data.properties",
                ErrorCode::InvalidRequest,
            ),
            (
                execute("DeleteNode", json!({"node_id": 5})),
                "data.node_id",
                ErrorCode::InvalidRequest,
            ),
            (execute("DeleteNode", json!("x")), "data", ErrorCode::InvalidRequest),
            (
                execute("MoveNode", json!({"node_id": node})),
                "data.new_parent_id",
                ErrorCode::InvalidRequest,
            ),
            (
                execute("UpdateProperty", json!({"node_id": node, "property_id": 5})),
                "data.property_id",
                ErrorCode::InvalidRequest,
            ),
            (
                execute("UpdateProperty", json!({"node_id": node, "property_id": "p"})),
                "data.new_value",
                ErrorCode::InvalidRequest,
            ),
            (execute("Batch", json!({})), "data.commands", ErrorCode::InvalidRequest),
            (
                execute(
                    "Batch",
                    json!({"commands": [{"command_type": "DeleteNode", "data": {"node_id": node}}, {"command_type": "DeleteNode", "data": {}}]}),
                ),
                "data.commands[1].data.node_id",
                ErrorCode::InvalidRequest,
            ),
            (
                execute("Batch", json!({"commands": [{"command_type": "Batch"}]})),
                "data.commands[0].command_type",
                ErrorCode::InvalidRequest,
            ),
            (
                execute("Batch", json!({"commands": [{"command_type": "Nope"}]})),
                "",
                ErrorCode::InvalidCommand,
            ),
        ] {
            assert_eq!(field_of(&body), (field.to_owned(), code), "{body}");
        }
    }

    #[test]
    fn malformed_json_reports_line() {
        for text in ["{\"session_id\": ", "{]", "", "{} {}"] {
            let failure = read_command(text).expect_err("malformed");
            assert_eq!(failure.code, ErrorCode::InvalidRequest);
            assert!(
                failure.message.starts_with("malformed JSON") && failure.message.contains("line 1"),
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn property_values_keep_null_and_exact_numbers() {
        let node = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let read = |data: &str| {
            let text = format!(
                r#"{{"command_type":"UpdateProperty","data":{{"node_id":"{node}","property_id":"p",{data}}}}}"#
            );
            match read_command(&text).expect(data).command {
                Command::UpdateProperty { new_value, .. } => serde_json::to_string(&new_value).expect("a value"),
                other => unreachable!("{other:?}"),
            }
        };
        assert_eq!(read(r#""new_value": null"#), "null");
        assert_eq!(read(r#""value": 9007199254740993"#), "9007199254740993");
        assert_eq!(read(r#""new_value": 1.10, "value": 3"#), "1.10");
    }
}
