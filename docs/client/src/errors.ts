import type { ErrorCode, Json, WireError } from "./protocol.js";

/** Why a command did not happen, or why the client gave up. `code` is stable, `message` is for people. */
export class HubError extends Error {
  override readonly name = "HubError";
  /** `CLOSED` is the library's own: `close()` was called before there was an answer. */
  readonly code: ErrorCode | "CLOSED";
  /** What the error says beside its code, such as `node_id` or `blocked_by`. */
  readonly details: Readonly<Record<string, Json>>;

  constructor(code: ErrorCode | "CLOSED", message: string, details: Record<string, Json> = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }

  static of({ code, message, ...details }: WireError): HubError {
    return new HubError(code, message, details);
  }
}
