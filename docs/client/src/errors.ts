import type { ErrorCode, Json, WireError } from "./protocol.js";

/** Why a command did not happen, or why the client gave up. `code` is stable, `message` is for people. */
export class HubError extends Error {
  override readonly name = "HubError";
  /**
   * The library's own: `CLOSED`, as `close()` was called before there was an answer, and `OUTBOX_FULL`, as too many
   * commands have none.
   */
  readonly code: ErrorCode | "CLOSED" | "OUTBOX_FULL";
  /** What the error says beside its code, such as `node_id` or `blocked_by`. */
  readonly details: Readonly<Record<string, Json>>;

  constructor(code: ErrorCode | "CLOSED" | "OUTBOX_FULL", message: string, details: Record<string, Json> = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }

  static of({ code, message, ...details }: WireError): HubError {
    return new HubError(code, message, details);
  }
}
