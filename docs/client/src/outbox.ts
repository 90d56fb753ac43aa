import { bytesOf } from "./encode.js";
import { HubError } from "./errors.js";
import type { Foreseen, Model } from "./model.js";
import type { AnyCommand } from "./optimism.js";
import type { Answer, ErrorCode, Position, Refusal } from "./protocol.js";

/** Event name under which a command is sent. */
export type CommandEvent = "command:execute" | "command:undo" | "command:redo";

/** Encoded command. */
export interface Outgoing {
  readonly event: CommandEvent;
  readonly payload: object;
  /** Length of the payload as JSON, in bytes. */
  readonly bytes: number;
}

/** Transport of commands to the hub. */
export interface Carrier {
  /** Sends a command once. `answered` gets `undefined` or another value without the shape of an answer if none came. */
  send(one: Outgoing, answered: (reply?: unknown) => void): void;
  /** Returns the error for a command that the hub would always refuse, as far as that is known before sending. */
  unfit(one: Outgoing): HubError | undefined;
  /** Position of the graph. Undefined before the first sync. */
  position(): Position | undefined;
}

/** Bounds of the queue and of the attempts for each command. */
export interface OutboxLimits {
  readonly pendingMax: number;
  readonly attemptsMax: number;
}

/** Codes after which the same command may be sent again: the command was not applied, or its outcome is unknown. */
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

/** Reads an answer. A reply without the shape of an answer counts as no answer. */
function answerOf(reply: unknown): Answer | Refusal | undefined {
  const { success, epoch, seq, error } = (reply ?? {}) as Partial<Answer> & Partial<Refusal>;
  const known = success ? typeof epoch === "string" && typeof seq === "number" : typeof error?.code === "string";
  return known ? (reply as Answer | Refusal) : undefined;
}

/**
 * Queue of commands for the hub. One command at a time is under way, so the commands stay in order also if one has to be
 * sent again. A command is sent with the same id until there is an answer, so the hub applies it once however often it is
 * sent. No command blocks the commands behind it: a command that cannot be sent is refused, and a command without an
 * answer is rejected after `attemptsMax` attempts.
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

  /** Queues a command. `text` is its payload as JSON. */
  add(id: string, event: CommandEvent, text: string, optimistic: boolean): Promise<Answer> {
    return new Promise((resolve, reject) => {
      // The parsed text is a copy that equals what the hub receives, also if the caller changes its object later.
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

  /** Starts (`true`) or stops (`false`) sending. */
  open(is: boolean): void {
    this.#open = is;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#next();
  }

  /**
   * Runs `apply` with the confirmed events, and drops the predictions that these replace: of the commands in `ended`, and
   * of answered commands whose `seq` the graph has reached.
   */
  confirm(ended: ReadonlySet<string>, apply?: () => void): void {
    this.#model.confirm(one => ended.has((one as Waiting).id) || this.#isShown(one as Waiting), apply);
    // The promise of a command resolves when the graph shows the command's effect.
    for (const one of this.#waiting.filter(one => this.#isShown(one))) {
      this.#waiting.splice(this.#waiting.indexOf(one), 1);
      if (one.answer) one.resolve(one.answer);
    }
  }

  /** Rejects the command under way if `why` returns an error. */
  refuse(why: (one: Outgoing) => HubError | undefined): void {
    const error = this.#underWay && why(this.#underWay);
    if (this.#underWay && error) this.#refused(this.#underWay, error);
  }

  /** Stops sending and rejects all commands. */
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
    // After a reconnect the hub may have other limits than when the command was queued.
    const why = this.#carrier.unfit(one);
    const attempt = ++one.attempts;
    try {
      if (why) throw why;
      this.#carrier.send(one, reply => {
        // A late answer, to an earlier attempt or to a rejected command, is ignored.
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
