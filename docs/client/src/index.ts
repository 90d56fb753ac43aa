export { connect } from "./client.js";
export type { Client, ConnectOptions, ExecuteOptions, HistoryOptions, Status } from "./client.js";
export { HubError } from "./errors.js";
export { windowClientId } from "./identity.js";
export { newId } from "./ids.js";
export type { Presence } from "./presence.js";
export type * from "./protocol.js";
export type { Change, TreeNode } from "./replica.js";
export type { Unsubscribe } from "./signal.js";
