//! What is on the wire, as TypeScript says it. Fields are written as TypeScript writes them, with `;` between.

/// An interface.
pub struct Interface {
    pub name: &'static str,
    /// The interface whose fields it has too.
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

/// Every interface, in the order in which they are rendered.
#[rustfmt::skip]
pub const INTERFACES: &[Interface] = &[
    interface("WireNode", None, "A node.",
        "id: string; name: string; blueprint_type_id: string; parent_id: string | null; properties: Record<string, Json>; \
         metadata?: Json; children: WireNode[]"),
    interface("Graph", None, "A graph, roots in order.", "roots: WireNode[]"),
    interface("Position", None, "Where in a session somebody is.", "epoch: string; seq: number"),
    interface("Origin", None, "Who sent a command, as far as that is known.", "client_id?: string; user?: string"),

    interface("Envelope", None, "What every event carries.",
        "session_id: string; project_id: string | null; timestamp: string"),
    interface("OfCommand", ROOM, "What every event of a command carries.", "command_id: string; origin: Origin"),
    interface("Sequenced", COMMAND, "What every event carries that has a place in the order.",
        "epoch: string; seq: number"),
    interface("NodeCreated", SEQUENCED, "`graph:node-created`",
        "node_id: string; name: string; blueprint_type_id: string; parent_id: string | null; index: number; \
         properties: Record<string, Json>; metadata?: Json"),
    interface("NodeDeleted", SEQUENCED, "`graph:node-deleted`: children come before their parents.",
        "node_id: string; parent_id: string | null"),
    interface("NodeLinked", SEQUENCED, "`graph:node-linked`: `index` is counted without the node itself.",
        "parent_id: string | null; child_id: string; index: number"),
    interface("NodeUnlinked", SEQUENCED, "`graph:node-unlinked`: the node is the last of the roots then.",
        "parent_id: string | null; child_id: string"),
    interface("PropertyChanged", SEQUENCED, "`graph:property-changed`: the name too, by the key `name`.",
        "node_id: string; property_id: string; property_key?: string; old_value: Json; new_value: Json; orphaned?: boolean"),
    interface("PropertyDeleted", SEQUENCED, "`graph:property-deleted`",
        "node_id: string; property_id: string; property_key?: string; old_value: Json"),
    interface("CommandExecuting", COMMAND, "`command:executing`: its events follow at once.",
        "command_type: CommandKind"),
    interface("CommandResult", None, "What a command came to: its node, or the nodes that a batch created.",
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
    interface("ProjectLoaded", SEQUENCED, "`project:loaded`: the whole graph is another one.", "graph: Graph"),
    interface("Missed", None, "An event within a `session:sync`.", "event: EventName; data: Sequenced"),
    interface("Told", None, "An event within a `session:events`.", "event: EventName; data: OfCommand"),
    interface("SessionEvents", None, "`session:events`: the events of one or more commands, for a client that takes them so.",
        "session_id: string; project_id: string | null; epoch: string; events: Told[]"),
    interface("Reconnect", None, "The span over which clients spread their return.", "min_ms: number; max_ms: number"),
    interface("ClientLimits", None, "Limits that a client checks before it sends, in bytes and in commands.",
        "message_bytes_max: number; body_bytes_max: number; presence_state_bytes_max: number; batch_commands_max: number"),
    interface("SessionSync", ROOM, "`session:sync`: the graph at `seq`, or the events up to it.",
        "epoch: string; seq: number; state_hash: string; reason: SyncReason; graph?: Graph; events?: Missed[]; client_id: string; \
         client_count: number; undo_available: boolean; redo_available: boolean; reconnect: Reconnect; \
         limits: ClientLimits"),
    interface("SessionTick", ROOM, "`session:tick`: where the session is.",
        "epoch: string; seq: number; state_hash?: string"),
    interface("SessionDraining", ROOM, "`session:draining`: the hub goes away; come back after that long.",
        "reconnect_in_ms: number"),

    interface("PresentClient", None, "A client that is here, and what it says of itself.",
        "client_id: string; user?: string; state: Json"),
    interface("PresenceState", ROOM, "`presence:state`: who is here; `total` counts those too that are not listed.",
        "clients: PresentClient[]; total: number"),
    interface("PresenceDiff", ROOM, "`presence:diff`: what is different since.",
        "joins: PresentClient[]; updates: PresentClient[]; leaves: string[]"),

    interface("Answer", None, "The answer to a command that was accepted.",
        "success: true; command_id: string; epoch: string; seq: number; first_seq?: number; node_id?: string; \
         node_ids?: string[]; undo_available: boolean; redo_available: boolean; is_dirty: boolean; \
         state_hash?: string; duplicate?: boolean"),
    interface("Refusal", None, "The answer to a command that was not.", "success: false; error: WireError"),

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

/// Which interface an event's payload has.
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

/// The commands that a client can send, each with an interface of the same name for its data.
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

/// Optional fields that no sample of a packet has: why.
pub const WITHOUT_SAMPLE: &[(&str, &str)] = &[
    ("SessionConnected.user", "the hub knows no users yet"),
    (
        "WireNode.metadata",
        "graphs are written by `wire::graph`, whose tests have one",
    ),
    ("Answer.duplicate", "is there if a command came again"),
];
