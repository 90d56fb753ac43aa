// The wire contract of docs/PROTOCOL.md as types. Rendered from src/wire by a test, which also fails if this file is
// not what it renders: UPDATE_PROTOCOL_TS=1 cargo test --lib typescript

/** What a property holds. Numbers are 64-bit floats here, whatever their text on the wire. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A node. */
export interface WireNode {
  id: string;
  name: string;
  blueprint_type_id: string;
  parent_id: string | null;
  properties: Record<string, Json>;
  metadata?: Json;
  children: WireNode[];
}

/** A graph, roots in order. */
export interface Graph {
  roots: WireNode[];
}

/** Where in a session somebody is. */
export interface Position {
  epoch: string;
  seq: number;
}

/** Who sent a command, as far as that is known. */
export interface Origin {
  client_id?: string;
  user?: string;
}

/** What every event carries. */
export interface Envelope {
  session_id: string;
  project_id: string | null;
  timestamp: string;
}

/** What every event of a command carries. */
export interface OfCommand extends Envelope {
  command_id: string;
  origin: Origin;
}

/** What every event carries that has a place in the order. */
export interface Sequenced extends OfCommand {
  epoch: string;
  seq: number;
}

/** `graph:node-created` */
export interface NodeCreated extends Sequenced {
  node_id: string;
  name: string;
  blueprint_type_id: string;
  parent_id: string | null;
  index: number;
  properties: Record<string, Json>;
  metadata?: Json;
}

/** `graph:node-deleted`: children come before their parents. */
export interface NodeDeleted extends Sequenced {
  node_id: string;
  parent_id: string | null;
}

/** `graph:node-linked`: `index` is counted without the node itself. */
export interface NodeLinked extends Sequenced {
  parent_id: string | null;
  child_id: string;
  index: number;
}

/** `graph:node-unlinked`: the node is the last of the roots then. */
export interface NodeUnlinked extends Sequenced {
  parent_id: string | null;
  child_id: string;
}

/** `graph:property-changed`: the name too, by the key `name`. */
export interface PropertyChanged extends Sequenced {
  node_id: string;
  property_id: string;
  property_key?: string;
  old_value: Json;
  new_value: Json;
  orphaned?: boolean;
}

/** `graph:property-deleted` */
export interface PropertyDeleted extends Sequenced {
  node_id: string;
  property_id: string;
  property_key?: string;
  old_value: Json;
}

/** `command:executing`: its events follow at once. */
export interface CommandExecuting extends OfCommand {
  command_type: CommandKind;
}

/** What a command came to: its node, or the nodes that a batch created. */
export interface CommandResult {
  node_id?: string;
  node_ids?: string[];
}

/** `command:executed`: the end of a command that was accepted. */
export interface CommandExecuted extends Sequenced {
  command_type: CommandKind;
  result: CommandResult;
  undo_available: boolean;
  redo_available: boolean;
}

/** `command:failed`: the end of a command that was refused. */
export interface CommandFailed extends OfCommand {
  command_type: CommandKind;
  error: WireError;
}

/** `command:undo`: the end of an undo. */
export interface CommandUndo extends Sequenced {
  undone_command_id: string;
  command_type: CommandKind;
  undo_available: boolean;
  redo_available: boolean;
}

/** `command:redo`: the end of a redo. */
export interface CommandRedo extends Sequenced {
  redone_command_id: string;
  command_type: CommandKind;
  undo_available: boolean;
  redo_available: boolean;
}

/** `session:connected`: a socket joined. */
export interface SessionConnected extends Envelope {
  client_id: string;
  client_count: number;
  user?: string;
}

/** `session:disconnected`: a socket left. */
export interface SessionDisconnected extends Envelope {
  client_id: string;
  client_count: number;
  reason: string;
}

/** `project:saved` */
export interface ProjectSaved extends Sequenced {
  path: string;
}

/** `project:loaded`: the whole graph is another one. */
export interface ProjectLoaded extends Sequenced {
  graph: Graph;
}

/** An event within a `session:sync`. */
export interface Missed {
  event: EventName;
  data: Sequenced;
}

/** An event within a `session:events`. */
export interface Told {
  event: EventName;
  data: OfCommand;
}

/** `session:events`: the events of one or more commands, for a client that takes them so. */
export interface SessionEvents {
  session_id: string;
  project_id: string | null;
  epoch: string;
  events: Told[];
}

/** The span over which clients spread their return. */
export interface Reconnect {
  min_ms: number;
  max_ms: number;
}

/** Limits that a client checks before it sends, in bytes and in commands. */
export interface ClientLimits {
  message_bytes_max: number;
  body_bytes_max: number;
  presence_state_bytes_max: number;
  batch_commands_max: number;
}

/** `session:sync`: the graph at `seq`, or the events up to it. */
export interface SessionSync extends Envelope {
  epoch: string;
  seq: number;
  state_hash: string;
  reason: SyncReason;
  graph?: Graph;
  events?: Missed[];
  client_id: string;
  client_count: number;
  undo_available: boolean;
  redo_available: boolean;
  reconnect: Reconnect;
  limits: ClientLimits;
}

/** `session:tick`: where the session is. */
export interface SessionTick extends Envelope {
  epoch: string;
  seq: number;
  state_hash?: string;
}

/** `session:draining`: the hub goes away; come back after that long. */
export interface SessionDraining extends Envelope {
  reconnect_in_ms: number;
}

/** A client that is here, and what it says of itself. */
export interface PresentClient {
  client_id: string;
  user?: string;
  state: Json;
}

/** `presence:state`: who is here; `total` counts those too that are not listed. */
export interface PresenceState extends Envelope {
  clients: PresentClient[];
  total: number;
}

/** `presence:diff`: what is different since. */
export interface PresenceDiff extends Envelope {
  joins: PresentClient[];
  updates: PresentClient[];
  leaves: string[];
}

/** The answer to a command that was accepted. */
export interface Answer {
  success: true;
  command_id: string;
  epoch: string;
  seq: number;
  first_seq?: number;
  node_id?: string;
  node_ids?: string[];
  undo_available: boolean;
  redo_available: boolean;
  is_dirty: boolean;
  state_hash?: string;
  duplicate?: boolean;
}

/** The answer to a command that was not. */
export interface Refusal {
  success: false;
  error: WireError;
}

export interface CreateNode {
  blueprint_type_id: string;
  name?: string;
  parent_id?: string | null;
  index?: number;
  properties?: Record<string, Json>;
  node_id?: string;
}

export interface DeleteNode {
  node_id: string;
}

export interface LinkNode {
  parent_id: string;
  child_id: string;
  index?: number;
}

export interface UnlinkNode {
  parent_id: string;
  child_id: string;
}

export interface MoveNode {
  node_id: string;
  new_parent_id: string | null;
  index?: number;
}

export interface ReorderNode {
  node_id: string;
  new_index: number;
}

export interface UpdateProperty {
  node_id: string;
  property_id: string;
  new_value: Json;
}

export interface DeleteProperty {
  node_id: string;
  property_id: string;
}

export interface Batch {
  commands: InBatch[];
}

/** What went wrong. Codes are stable. */
export type ErrorCode =
  | "INVALID_REQUEST"
  | "INVALID_COMMAND"
  | "INVALID_VALUE"
  | "INVALID_GRAPH"
  | "UNKNOWN_NODE_TYPE"
  | "UNKNOWN_PROPERTY"
  | "TEMPLATE_INVALID"
  | "CHILD_NOT_ALLOWED"
  | "CYCLE"
  | "INDEX_OUT_OF_RANGE"
  | "LIMIT_EXCEEDED"
  | "ORIGIN_NOT_ALLOWED"
  | "INVALID_SESSION"
  | "NODE_NOT_FOUND"
  | "PROPERTY_NOT_FOUND"
  | "PROJECT_NOT_FOUND"
  | "TEMPLATE_NOT_FOUND"
  | "NOT_FOUND"
  | "METHOD_NOT_ALLOWED"
  | "REQUEST_TIMEOUT"
  | "CONFLICT"
  | "ALREADY_LINKED"
  | "NOT_LINKED"
  | "NODE_EXISTS"
  | "PROJECT_EXISTS"
  | "NOTHING_TO_UNDO"
  | "NOTHING_TO_REDO"
  | "UNDO_CONFLICT"
  | "COMMAND_ID_REUSED"
  | "SEQ_NOT_REACHED"
  | "SESSION_BUSY"
  | "PAYLOAD_TOO_LARGE"
  | "UNSUPPORTED_MEDIA_TYPE"
  | "HOST_NOT_ALLOWED"
  | "SESSION_QUARANTINED"
  | "INTERNAL_ERROR"
  | "OVERLOADED"
  | "OUTCOME_UNKNOWN"
  | "DRAINING";

/** What an event can be of. Some kinds come from the hub only. */
export type CommandKind =
  | "CreateNode"
  | "DeleteNode"
  | "LinkNode"
  | "UnlinkNode"
  | "MoveNode"
  | "ReorderNode"
  | "UpdateProperty"
  | "DeleteProperty"
  | "Batch"
  | "Undo"
  | "Redo"
  | "LoadGraph"
  | "SaveProject"
  | "CreateProject";

/** Why a sync is what it is. */
export type SyncReason =
  | "resumed"
  | "first_join"
  | "requested"
  | "window_exceeded"
  | "epoch_changed"
  | "ahead_of_log"
  | "slow_consumer"
  | "divergence"
  | "room_restarted";

/** An error, with what programs may want to know beside its code. */
export interface WireError {
  code: ErrorCode;
  message: string;
  [detail: string]: Json;
}

/** The payload of each event. */
export interface Events {
  "graph:node-created": NodeCreated;
  "graph:node-deleted": NodeDeleted;
  "graph:node-linked": NodeLinked;
  "graph:node-unlinked": NodeUnlinked;
  "graph:property-changed": PropertyChanged;
  "graph:property-deleted": PropertyDeleted;
  "command:executing": CommandExecuting;
  "command:executed": CommandExecuted;
  "command:failed": CommandFailed;
  "command:undo": CommandUndo;
  "command:redo": CommandRedo;
  "session:connected": SessionConnected;
  "session:disconnected": SessionDisconnected;
  "project:saved": ProjectSaved;
  "project:loaded": ProjectLoaded;
  "session:sync": SessionSync;
  "session:events": SessionEvents;
  "session:tick": SessionTick;
  "session:draining": SessionDraining;
  "presence:state": PresenceState;
  "presence:diff": PresenceDiff;
}

export type EventName = keyof Events;

/** An event with the payload that belongs to its name. */
export type HubEvent = { [K in EventName]: { event: K; data: Events[K] } }[EventName];

/** The data of each command that can be sent. */
export interface CommandData {
  CreateNode: CreateNode;
  DeleteNode: DeleteNode;
  LinkNode: LinkNode;
  UnlinkNode: UnlinkNode;
  MoveNode: MoveNode;
  ReorderNode: ReorderNode;
  UpdateProperty: UpdateProperty;
  DeleteProperty: DeleteProperty;
  Batch: Batch;
}

export type CommandType = keyof CommandData;

/** One of the commands of a batch. */
export type InBatch = {
  [K in Exclude<CommandType, "Batch">]: { command_type: K; data: CommandData[K] };
}[Exclude<CommandType, "Batch">];
