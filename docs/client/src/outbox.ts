import { HubError } from "./errors.js";
import type { Model, Foreseen } from "./model.js";
import type { Answer, ErrorCode, Position, Refusal } from "./protocol.js";

/** How a command is sent. */
export type CommandEvent = "command:execute" | "command:undo" | "command:redo";

/** Sends once. `undefined` comes back if no answer came, whatever the reason. */
export type Send = (event: CommandEvent, payload: object, answered: (reply?: Answer | Refusal) => void) => void;

/** What says that the same command may be sent again: nothing has happened, or nobody knows. */
const AGAIN: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["OUTCOME_UNKNOWN", "OVERLOADED", "DRAINING"]);

const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 5_000;

interface Waiting extends Foreseen {
  readonly id: string;
  readonly event: CommandEvent;
  readonly payload: object;
  answer?: Answer;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: HubError) => void;
}

/**
 * Commands on their way. One at a time is under way, so that they stay in order also where one has to be sent again; it
 * is sent with the same id until there is an answer, so it happens once however often it is sent.
 */
export class Outbox {
  readonly #waiting: Waiting[] = [];
  readonly #model: Model;
  readonly #send: Send;
  readonly #position: () => Position | undefined;
  #open = false;
  #underWay?: Waiting | undefined;
  #attempts = 0;
  #timer?: ReturnType<typeof setTimeout> | undefined;

  /** `position` tells how far the graph is. */
  constructor(model: Model, send: Send, position: () => Position | undefined) {
    this.#model = model;
    this.#send = send;
    this.#position = position;
  }

  get size(): number {
    return this.#waiting.length;
  }

  add(id: string, event: CommandEvent, payload: object, foreseen: Foreseen): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const one: Waiting = { ...foreseen, id, event, payload: { ...payload, command_id: id }, resolve, reject };
      this.#waiting.push(one);
      if (one.command) this.#model.foresee(one);
      this.#next();
    });
  }

  /** Whether commands can be sent now. */
  open(is: boolean): void {
    this.#open = is;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#attempts = 0;
    this.#next();
  }

  /**
   * Applies what the hub has confirmed. The guesses that it replaces go: those of the commands that end in it, and those
   * of commands that were answered and are behind it.
   */
  confirm(ended: ReadonlySet<string>, apply?: () => void): void {
    this.#model.confirm(one => ended.has((one as Waiting).id) || this.#isShown(one as Waiting), apply);
    // Whoever waits for an answer gets it when the graph shows what the command did.
    for (const one of this.#waiting.filter(one => this.#isShown(one))) {
      this.#waiting.splice(this.#waiting.indexOf(one), 1);
      if (one.answer) one.resolve(one.answer);
    }
  }

  /** Nothing will be answered any more. */
  fail(error: HubError): void {
    this.open(false);
    for (const one of [...this.#waiting]) this.#refused(one, error);
  }

  #isShown({ answer }: Waiting): boolean {
    const at = this.#position();
    return !!answer && (answer.epoch !== at?.epoch || answer.seq <= at.seq);
  }

  #refused(one: Waiting, error: HubError): void {
    this.#waiting.splice(this.#waiting.indexOf(one), 1);
    this.#model.confirm(other => other === one);
    one.reject(error);
  }

  #next(): void {
    if (!this.#open || this.#underWay || this.#timer !== undefined) return;
    const one = this.#waiting.find(waiting => !waiting.answer);
    if (!one) return;
    this.#underWay = one;
    this.#send(one.event, one.payload, reply => {
      this.#underWay = undefined;
      if (!this.#waiting.includes(one)) return;
      if (reply?.success) {
        one.answer = reply;
        this.confirm(new Set());
      } else if (reply && !AGAIN.has(reply.error.code)) this.#refused(one, HubError.of(reply.error));
      else return this.#again();
      this.#attempts = 0;
      this.#next();
    });
  }

  #again(): void {
    if (!this.#open) return;
    const wait = Math.min(BACKOFF_MIN_MS * 2 ** this.#attempts++, BACKOFF_MAX_MS);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#next();
    }, wait * (0.5 + Math.random() / 2));
  }
}
