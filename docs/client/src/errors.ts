import type { ErrorCode, Json, WireError } from "./protocol.js";

/** Error of a command that was not applied, or of a client that ended. `code` is stable, `message` is for people. */
export class HubError extends Error {
  override readonly name = "HubError";
  /**
   * Code of the hub, or of the library: `CLOSED` if `close()` was called before the answer, `OUTBOX_FULL` if too many
   * commands have no answer.
   */
  readonly code: ErrorCode | "CLOSED" | "OUTBOX_FULL";
  /** Other fields of the error, such as `node_id` or `blocked_by`. */
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
