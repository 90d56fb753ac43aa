//! Table of all types on the wire. Fields are in TypeScript syntax, separated by `;`.

/// TypeScript interface.
pub struct Interface {
    pub name: &'static str,
    /// Interface whose fields are included.
    pub extends: Option<&'static str>,
    pub about: &'static str,
    pub fields: &'static str,
}

const fn interface(
    name: &'static str,
    extends: Option<&'static str>,
    about: &'static str,
    fields: &'static str,
) -> Interface {
    Interface {
        name,
        extends,
        about,
        fields,
    }
}

const ROOM: Option<&str> = Some("Envelope");
const COMMAND: Option<&str> = Some("OfCommand");
const SEQUENCED: Option<&str> = Some("Sequenced");

/// Interfaces in the order in which they are rendered.
#[rustfmt::skip]
pub const INTERFACES: &[Interface] = &[
    interface("WireNode", None, "Node with its children.",
        "id: string; name: string; blueprint_type_id: string; parent_id: string | null; properties: Record<string, Json>; \
         metadata?: Json; children: WireNode[]"),
    interface("Graph", None, "Graph, roots in order.", "roots: WireNode[]"),
    interface("Position", None, "Position in the log of a session.", "epoch: string; seq: number"),
    interface("Origin", None, "Author of a command, as far as known.", "client_id?: string; user?: string"),

    interface("Envelope", None, "Fields of every event.",
        "session_id: string; project_id: string | null; timestamp: string"),
    interface("OfCommand", ROOM, "Fields of every event of a command.", "command_id: string; origin: Origin"),
    interface("Sequenced", COMMAND, "Fields of every sequenced event.",
        "epoch: string; seq: number"),
    interface("NodeCreated", SEQUENCED, "`graph:node-created`",
        "node_id: string; name: string; blueprint_type_id: string; parent_id: string | null; index: number; \
         properties: Record<string, Json>; metadata?: Json"),
    interface("NodeDeleted", SEQUENCED, "`graph:node-deleted`: children precede their parents.",
        "node_id: string; parent_id: string | null"),
    interface("NodeLinked", SEQUENCED, "`graph:node-linked`: `index` does not count the node itself.",
        "parent_id: string | null; child_id: string; index: number"),
    interface("NodeUnlinked", SEQUENCED, "`graph:node-unlinked`: the node becomes the last root.",
        "parent_id: string | null; child_id: string"),
    interface("PropertyChanged", SEQUENCED, "`graph:property-changed`: also a change of the name, under the key `name`.",
        "node_id: string; property_id: string; property_key?: string; old_value: Json; new_value: Json; orphaned?: boolean"),
    interface("PropertyDeleted", SEQUENCED, "`graph:property-deleted`",
        "node_id: string; property_id: string; property_key?: string; old_value: Json"),
    interface("CommandExecuting", COMMAND, "`command:executing`: its events follow at once.",
        "command_type: CommandKind"),
    interface("CommandResult", None, "Result of a command: its node, or the nodes that a batch created.",
        "node_id?: string; node_ids?: string[]"),
    interface("CommandExecuted", SEQUENCED, "`command:executed`: the end of a command that was accepted.",
        "command_type: CommandKind; result: CommandResult; undo_available: boolean; redo_available: boolean"),
    interface("CommandFailed", COMMAND, "`command:failed`: the end of a command that was refused.",
        "command_type: CommandKind; error: WireError"),
    interface("CommandUndo", SEQUENCED, "`command:undo`: the end of an undo.",
        "undone_command_id: string; command_type: CommandKind; undo_available: boolean; redo_available: boolean"),
    interface("CommandRedo", SEQUENCED, "`command:redo`: the end of a redo.",
        "redone_command_id: string; command_type: CommandKind; undo_available: boolean; redo_available: boolean"),
    interface("SessionConnected", ROOM, "`session:connected`: a socket joined.",
        "client_id: string; client_count: number; user?: string"),
    interface("SessionDisconnected", ROOM, "`session:disconnected`: a socket left.",
        "client_id: string; client_count: number; reason: string"),
    interface("ProjectSaved", SEQUENCED, "`project:saved`", "path: string"),
    interface("ProjectLoaded", SEQUENCED, "`project:loaded`: the whole graph was replaced.", "graph: Graph"),
    interface("Missed", None, "An event within a `session:sync`.", "event: EventName; data: Sequenced"),
    interface("Told", None, "An event within a `session:events`.", "event: EventName; data: OfCommand"),
    interface("SessionEvents", None, "`session:events`: the events of one or more commands, for a client that takes batches.",
        "session_id: string; project_id: string | null; epoch: string; events: Told[]"),
    interface("Reconnect", None, "Range of the random delay before a reconnect.", "min_ms: number; max_ms: number"),
    interface("ClientLimits", None, "Limits that a client checks before it sends, in bytes and in commands.",
        "message_bytes_max: number; body_bytes_max: number; presence_state_bytes_max: number; batch_commands_max: number"),
    interface("SessionSync", ROOM, "`session:sync`: the graph at `seq`, or the events up to it.",
        "epoch: string; seq: number; state_hash: string; reason: SyncReason; graph?: Graph; events?: Missed[]; client_id: string; \
         client_count: number; undo_available: boolean; redo_available: boolean; reconnect: Reconnect; \
         limits: ClientLimits"),
    interface("SessionTick", ROOM, "`session:tick`: position of the session.",
        "epoch: string; seq: number; state_hash?: string"),
    interface("SessionDraining", ROOM, "`session:draining`: the hub shuts down; reconnect after the delay.",
        "reconnect_in_ms: number"),

    interface("PresentClient", None, "Connected client with its presence state.",
        "client_id: string; user?: string; state: Json"),
    interface("PresenceState", ROOM, "`presence:state`: the connected clients; `total` includes clients that are not listed.",
        "clients: PresentClient[]; total: number"),
    interface("PresenceDiff", ROOM, "`presence:diff`: changes since the last packet.",
        "joins: PresentClient[]; updates: PresentClient[]; leaves: string[]"),

    interface("Answer", None, "Answer to an accepted command.",
        "success: true; command_id: string; epoch: string; seq: number; first_seq?: number; node_id?: string; \
         node_ids?: string[]; undo_available: boolean; redo_available: boolean; is_dirty: boolean; \
         state_hash?: string; duplicate?: boolean"),
    interface("Refusal", None, "Answer to a refused command.", "success: false; error: WireError"),

    interface("CreateNode", None, "", "blueprint_type_id: string; name?: string; parent_id?: string | null; \
         index?: number; properties?: Record<string, Json>; node_id?: string"),
    interface("DeleteNode", None, "", "node_id: string"),
    interface("LinkNode", None, "", "parent_id: string; child_id: string; index?: number"),
    interface("UnlinkNode", None, "", "parent_id: string; child_id: string"),
    interface("MoveNode", None, "", "node_id: string; new_parent_id: string | null; index?: number"),
    interface("ReorderNode", None, "", "node_id: string; new_index: number"),
    interface("UpdateProperty", None, "", "node_id: string; property_id: string; new_value: Json"),
    interface("DeleteProperty", None, "", "node_id: string; property_id: string"),
    interface("Batch", None, "", "commands: InBatch[]"),
];

/// Interface of each event's payload.
pub const EVENTS: &[(&str, &str)] = &[
    ("graph:node-created", "NodeCreated"),
    ("graph:node-deleted", "NodeDeleted"),
    ("graph:node-linked", "NodeLinked"),
    ("graph:node-unlinked", "NodeUnlinked"),
    ("graph:property-changed", "PropertyChanged"),
    ("graph:property-deleted", "PropertyDeleted"),
    ("command:executing", "CommandExecuting"),
    ("command:executed", "CommandExecuted"),
    ("command:failed", "CommandFailed"),
    ("command:undo", "CommandUndo"),
    ("command:redo", "CommandRedo"),
    ("session:connected", "SessionConnected"),
    ("session:disconnected", "SessionDisconnected"),
    ("project:saved", "ProjectSaved"),
    ("project:loaded", "ProjectLoaded"),
    ("session:sync", "SessionSync"),
    ("session:events", "SessionEvents"),
    ("session:tick", "SessionTick"),
    ("session:draining", "SessionDraining"),
    ("presence:state", "PresenceState"),
    ("presence:diff", "PresenceDiff"),
];

/// Commands that a client can send. The data of each has an interface of the same name.
pub const COMMANDS: &[&str] = &[
    "CreateNode",
    "DeleteNode",
    "LinkNode",
    "UnlinkNode",
    "MoveNode",
    "ReorderNode",
    "UpdateProperty",
    "DeleteProperty",
    "Batch",
];

/// Optional fields without a sample, with the reason.
pub const WITHOUT_SAMPLE: &[(&str, &str)] = &[
    ("SessionConnected.user", "the hub has no users yet"),
    (
        "WireNode.metadata",
        "graphs are written by `wire::graph`, whose tests cover the field",
    ),
    ("Answer.duplicate", "present only for a repeated command"),
];
