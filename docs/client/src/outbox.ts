import { bytesOf } from "./encode.js";
import { HubError } from "./errors.js";
import type { Foreseen, Model } from "./model.js";
import type { AnyCommand } from "./optimism.js";
import type { Answer, ErrorCode, Position, Refusal } from "./protocol.js";

/** How a command is sent. */
export type CommandEvent = "command:execute" | "command:undo" | "command:redo";

/** A command as it is sent. */
export interface Outgoing {
  readonly event: CommandEvent;
  readonly payload: object;
  /** Length of the payload as JSON. */
  readonly bytes: number;
}

/** The way to the hub. */
export interface Carrier {
  /** Sends once. Anything but an answer comes back if none came, whatever the reason. */
  send(one: Outgoing, answered: (reply?: unknown) => void): void;
  /** Why the hub would never take it, as far as that is known before it is sent. */
  unfit(one: Outgoing): HubError | undefined;
  /** How far the graph is. */
  position(): Position | undefined;
}

/** Bounds of what waits and of how often it is tried. */
export interface OutboxLimits {
  readonly pendingMax: number;
  readonly attemptsMax: number;
}

/** What says that the same command may be sent again: nothing has happened, or nobody knows. */
const AGAIN: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["OUTCOME_UNKNOWN", "OVERLOADED", "DRAINING"]);

const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 5_000;

interface Waiting extends Foreseen, Outgoing {
  readonly id: string;
  attempts: number;
  answer?: Answer;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: HubError) => void;
}

/** Reads an answer. What has the shape of none counts as no answer. */
function answerOf(reply: unknown): Answer | Refusal | undefined {
  const { success, epoch, seq, error } = (reply ?? {}) as Partial<Answer> & Partial<Refusal>;
  const known = success ? typeof epoch === "string" && typeof seq === "number" : typeof error?.code === "string";
  return known ? (reply as Answer | Refusal) : undefined;
}

/**
 * Commands on their way. One at a time is under way, so that they stay in order also where one has to be sent again; it
 * is sent with the same id until there is an answer, so it happens once however often it is sent. Nothing that one
 * command is stops those after it: what cannot be sent is refused, and what is not answered is given up after so many
 * attempts.
 */
export class Outbox {
  readonly #waiting: Waiting[] = [];
  readonly #model: Model;
  readonly #carrier: Carrier;
  readonly #limits: OutboxLimits;
  #open = false;
  #underWay?: Waiting | undefined;
  #timer?: ReturnType<typeof setTimeout> | undefined;

  constructor(model: Model, carrier: Carrier, limits: OutboxLimits) {
    this.#model = model;
    this.#carrier = carrier;
    this.#limits = limits;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** Takes a command of which `text` is the payload as JSON. */
  add(id: string, event: CommandEvent, text: string, optimistic: boolean): Promise<Answer> {
    return new Promise((resolve, reject) => {
      // Read back, it is what the hub will see, and nothing that the caller changes later.
      const payload = JSON.parse(text) as AnyCommand;
      const one: Waiting = { id, event, payload, bytes: bytesOf(text), attempts: 0, resolve, reject };
      const { pendingMax } = this.#limits;
      const full = new HubError("OUTBOX_FULL", `${pendingMax} commands wait for their answer already`, { max: pendingMax });
      const why = this.size < pendingMax ? this.#carrier.unfit(one) : full;
      if (why) return reject(why);
      this.#waiting.push(one);
      if (optimistic) this.#model.foresee(Object.assign(one, { command: payload }));
      this.#next();
    });
  }

  /** Whether commands can be sent now. */
  open(is: boolean): void {
    this.#open = is;
    clearTimeout(this.#timer);
    this.#timer = undefined;
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

  /** Refuses what is under way, if something is wrong with it. */
  refuse(why: (one: Outgoing) => HubError | undefined): void {
    const error = this.#underWay && why(this.#underWay);
    if (this.#underWay && error) this.#refused(this.#underWay, error);
  }

  /** Nothing will be answered any more. */
  fail(error: HubError): void {
    this.open(false);
    for (const one of [...this.#waiting]) this.#refused(one, error);
  }

  #isShown({ answer }: Waiting): boolean {
    const at = this.#carrier.position();
    return !!answer && (answer.epoch !== at?.epoch || answer.seq <= at.seq);
  }

  #refused(one: Waiting, error: HubError): void {
    if (this.#underWay === one) this.#underWay = undefined;
    this.#waiting.splice(this.#waiting.indexOf(one), 1);
    this.#model.confirm(other => other === one);
    one.reject(error);
  }

  #next(): void {
    if (!this.#open || this.#underWay || this.#timer !== undefined) return;
    const one = this.#waiting.find(waiting => !waiting.answer);
    if (!one) return;
    this.#underWay = one;
    // The hub may have come back with other limits than it had when the command was taken.
    const why = this.#carrier.unfit(one);
    const attempt = ++one.attempts;
    try {
      if (why) throw why;
      this.#carrier.send(one, reply => {
        // An answer to an earlier attempt, or to what was given up, is about nothing that is under way.
        if (this.#underWay === one && one.attempts === attempt) this.#answered(one, answerOf(reply));
      });
    } catch (error) {
      this.#refused(one, error instanceof HubError ? error : new HubError("INVALID_REQUEST", String(error)));
      this.#next();
    }
  }

  #answered(one: Waiting, reply: Answer | Refusal | undefined): void {
    this.#underWay = undefined;
    if (reply?.success) {
      one.answer = reply;
      this.confirm(new Set());
    } else if (!reply || AGAIN.has(reply.error.code)) {
      const { attemptsMax } = this.#limits;
      if (one.attempts < attemptsMax) return this.#again(one);
      const unknown = new HubError("OUTCOME_UNKNOWN", `no answer after ${attemptsMax} attempts: the command may have happened`);
      this.#refused(one, reply ? HubError.of(reply.error) : unknown);
    } else this.#refused(one, HubError.of(reply.error));
    this.#next();
  }

  #again({ attempts }: Waiting): void {
    if (!this.#open) return;
    const wait = Math.min(BACKOFF_MIN_MS * 2 ** (attempts - 1), BACKOFF_MAX_MS);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#next();
    }, wait * (0.5 + Math.random() / 2));
  }
}
