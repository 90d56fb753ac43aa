// The wire contract of docs/PROTOCOL.md as types. Rendered from src/wire by a test, which fails if this file
// differs from the rendered text: UPDATE_PROTOCOL_TS=1 cargo test --lib typescript

/** Value of a property. Numbers are 64-bit floats in TypeScript, also where the wire has more digits. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Node with its children. */
export interface WireNode {
  id: string;
  name: string;
  blueprint_type_id: string;
  parent_id: string | null;
  properties: Record<string, Json>;
  metadata?: Json;
  children: WireNode[];
}

/** Graph, roots in order. */
export interface Graph {
  roots: WireNode[];
}

/** Position in the log of a session. */
export interface Position {
  epoch: string;
  seq: number;
}

/** Author of a command, as far as known. */
export interface Origin {
  client_id?: string;
  user?: string;
}

/** Fields of every event. */
export interface Envelope {
  session_id: string;
  project_id: string | null;
  timestamp: string;
}

/** Fields of every event of a command. */
export interface OfCommand extends Envelope {
  command_id: string;
  origin: Origin;
}

/** Fields of every sequenced event. */
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

/** `graph:node-deleted`: children precede their parents. */
export interface NodeDeleted extends Sequenced {
  node_id: string;
  parent_id: string | null;
}

/** `graph:node-linked`: `index` does not count the node itself. */
export interface NodeLinked extends Sequenced {
  parent_id: string | null;
  child_id: string;
  index: number;
}

/** `graph:node-unlinked`: the node becomes the last root. */
export interface NodeUnlinked extends Sequenced {
  parent_id: string | null;
  child_id: string;
}

/** `graph:property-changed`: also a change of the name, under the key `name`. */
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

/** Result of a command: its node, or the nodes that a batch created. */
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

/** `project:loaded`: the whole graph was replaced. */
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

/** `session:events`: the events of one or more commands, for a client that takes batches. */
export interface SessionEvents {
  session_id: string;
  project_id: string | null;
  epoch: string;
  events: Told[];
}

/** Range of the random delay before a reconnect. */
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

/** `session:tick`: position of the session. */
export interface SessionTick extends Envelope {
  epoch: string;
  seq: number;
  state_hash?: string;
}

/** `session:draining`: the hub shuts down; reconnect after the delay. */
export interface SessionDraining extends Envelope {
  reconnect_in_ms: number;
}

/** Connected client with its presence state. */
export interface PresentClient {
  client_id: string;
  user?: string;
  state: Json;
}

/** `presence:state`: the connected clients; `total` includes clients that are not listed. */
export interface PresenceState extends Envelope {
  clients: PresentClient[];
  total: number;
}

/** `presence:diff`: changes since the last packet. */
export interface PresenceDiff extends Envelope {
  joins: PresentClient[];
  updates: PresentClient[];
  leaves: string[];
}

/** Answer to an accepted command. */
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

/** Answer to a refused command. */
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

/** Stable code of an error. */
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

/** Type of a command in an event. Some types come from the hub only. */
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

/** Reason of a `session:sync`. */
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

/** Error with its code, message and further fields. */
export interface WireError {
  code: ErrorCode;
  message: string;
  [detail: string]: Json;
}

/** Payload of each event. */
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

/** Event with the payload of its name. */
export type HubEvent = { [K in EventName]: { event: K; data: Events[K] } }[EventName];

/** Data of each command that a client can send. */
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

/** Command within a batch. */
export type InBatch = {
  [K in Exclude<CommandType, "Batch">]: { command_type: K; data: CommandData[K] };
}[Exclude<CommandType, "Batch">];
