import { io, type Socket } from "socket.io-client";

import { addressOf } from "./address.js";
import { bytesOf, encode } from "./encode.js";
import { HubError } from "./errors.js";
import { newId } from "./ids.js";
import { Model } from "./model.js";
import type { AnyCommand } from "./optimism.js";
import { Outbox, type CommandEvent, type Outgoing } from "./outbox.js";
import { Here, type Presence } from "./presence.js";
import type {
  Answer,
  ClientLimits,
  CommandData,
  CommandType,
  ErrorCode,
  Events,
  HubEvent,
  InBatch,
  Position,
  SessionSync,
  SessionTick,
} from "./protocol.js";
import type { Change, TreeNode } from "./replica.js";
import { signal, type Unsubscribe } from "./signal.js";

/**
 * How much what is shown can be relied on:
 * - `connecting`: nothing is there yet;
 * - `live`: it is what everybody has;
 * - `catching-up`: connected, and waiting for what was missed;
 * - `stale`: the connection is lost and will be tried again;
 * - `offline`: it will not be, since the client was closed or not let in, or the machine has no network.
 */
export type Status = "connecting" | "live" | "catching-up" | "stale" | "offline";

export interface ConnectOptions {
  /**
   * Where the hub is, such as `https://hub.example`, or `https://example/hub` behind a proxy that has it under a path; in
   * a page, by default where the page is from.
   */
  url?: string;
  sessionId: string;
  /** A name of the client's own choosing, 1 to 64 of `A-Za-z0-9_-`. Keep it, and "mine" survives a reload. */
  clientId?: string;
  token?: string;
  /** By default a websocket, and long polling where there can be none. */
  transports?: ("websocket" | "polling")[];
  /** Whether the events of commands come one by one, or several as one packet, which is less work for both ends. */
  frames?: "single" | "batched";
  /** How long an answer may take before the command is sent again, in milliseconds. */
  answerTimeoutMs?: number;
  /** How often a command is sent that gets no answer, or one that says to send it again, before it is rejected. */
  attemptsMax?: number;
  /** The most commands without an answer. One more is rejected with `OUTBOX_FULL`. */
  pendingMax?: number;
}

export interface ExecuteOptions {
  /** Refuse the command if what it touches has changed after this. */
  expectedSeq?: number;
  /** Whether to show what it will probably do before the hub has said so. By default yes. */
  optimistic?: boolean;
}

export interface HistoryOptions {
  /** Whose last step: by default one's own. */
  scope?: "mine" | "session";
  /** Also over what others did since. */
  force?: boolean;
}

export interface Client {
  readonly graph: { readonly roots: readonly TreeNode[] };
  node(id: string): TreeNode | undefined;
  onChange(listener: (change: Change) => void): Unsubscribe;
  /** Each event, after it was applied; those that were missed too. */
  onEvent(listener: (event: HubEvent) => void): Unsubscribe;

  execute<T extends CommandType>(type: T, data: CommandData[T], options?: ExecuteOptions): Promise<Answer>;
  batch(commands: InBatch[], options?: ExecuteOptions): Promise<Answer>;
  undo(options?: HistoryOptions): Promise<Answer>;
  redo(options?: HistoryOptions): Promise<Answer>;
  /** Commands that have no answer yet. */
  readonly pending: number;

  readonly presence: Presence;
  readonly status: Status;
  onStatus(listener: (status: Status) => void): Unsubscribe;
  /** Why the status is `offline`, if the hub said so. */
  readonly error: HubError | undefined;
  /** Its own name: the one that it chose, or else was given. */
  readonly clientId: string | undefined;
  readonly position: Position | undefined;
  /** What the hub takes at most; unknown before the graph is there. */
  readonly limits: ClientLimits | undefined;
  /** Resolves when the graph is there for the first time. */
  ready(): Promise<void>;
  /** Ends it. Commands without an answer are rejected with `CLOSED`; they may happen all the same. */
  close(): void;
}

interface Sent {
  "session:resync": (position: Partial<Position> & { reason?: string }) => void;
  "presence:update": (update: { state: unknown }) => void;
  "command:execute": (payload: object, answered: (reply: unknown) => void) => void;
  "command:undo": (payload: object, answered: (reply: unknown) => void) => void;
  "command:redo": (payload: object, answered: (reply: unknown) => void) => void;
}
type Received = { [K in keyof Events]: (data: Events[K]) => void };

/** What ends a command's events. */
const ENDS: ReadonlySet<string> = new Set(["command:executed", "command:undo", "command:redo"]);
const ANSWER_TIMEOUT_MS = 10_000;
const ATTEMPTS_MAX = 10;
const PENDING_MAX = 1_000;
/** More than what a message or a body has beside the payload: the event's name, the namespace, the number of the ack. */
const ENVELOPE_BYTES = 128;
/** How a websocket and a request over HTTP say that a message was too long. */
const TOO_LONG: readonly unknown[] = [1009, 413];
/** How long to stay away from a hub that has no room, or goes away. */
const TURNED_AWAY_MS = 2_000;
/** How much of the delay before a reconnect is left to chance, so that a crowd does not come back as one. */
const JITTER = 0.5;

const hasNetwork = (): boolean => typeof navigator !== "object" || navigator.onLine !== false;

const tooLong = (limit: string, max?: number): HubError =>
  new HubError("LIMIT_EXCEEDED", `this is longer than ${limit}`, max === undefined ? { limit } : { limit, max });

/** Joins a session and stays in it, until it is closed. Throws a `TypeError` if `url` is no address of a hub. */
export function connect(options: ConnectOptions): Client {
  const { sessionId: session_id, token, frames, transports = ["websocket", "polling"] } = options;
  const { answerTimeoutMs = ANSWER_TIMEOUT_MS, attemptsMax = ATTEMPTS_MAX, pendingMax = PENDING_MAX } = options;
  const { origin, path } = addressOf(options.url);
  let limits: ClientLimits | undefined;
  let { clientId } = options;
  let position: Position | undefined;
  /** The events of a command that has not ended yet. A command is shown whole or not at all, so they wait. */
  let begun: HubEvent[] = [];
  let asked = false;
  let joined = false;
  let status: Status = "connecting";
  let error: HubError | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const [statuses, events] = [signal<Status>(), signal<HubEvent>()];

  const socket: Socket<Received, Sent> = io(`${origin}/graph`, {
    path: `${path}/socket.io/`,
    transports,
    tryAllTransports: true,
    // The delays before a reconnect are set for this session alone.
    forceNew: true,
    auth: send => send({ session_id, client_id: clientId, token, frames, ...position }),
  });
  const manager = socket.io;

  const model = new Model();
  const isLong = ({ bytes }: Outgoing): boolean => !!limits && bytes + ENVELOPE_BYTES > limits.message_bytes_max;
  const carrier = {
    send(one: Outgoing, answered: (reply?: unknown) => void): void {
      if (isLong(one)) return void post(one).then(answered, () => answered());
      // The socket answers with an error if it is disconnected before the answer.
      socket.timeout(answerTimeoutMs).emit(one.event, one.payload, (lost, reply) => answered(lost ? undefined : reply));
    },
    unfit(one: Outgoing): HubError | undefined {
      if (!limits || !isLong(one)) return;
      const { body_bytes_max, message_bytes_max } = limits;
      if (one.event !== "command:execute" || body_bytes_max <= message_bytes_max) return tooLong("message_bytes_max", message_bytes_max);
      return one.bytes + ENVELOPE_BYTES > body_bytes_max ? tooLong("body_bytes_max", body_bytes_max) : undefined;
    },
    position: () => position,
  };
  const outbox = new Outbox(model, carrier, { attemptsMax, pendingMax });
  const presence = new Here(
    () => clientId,
    state => {
      const max = limits?.presence_state_bytes_max ?? Infinity;
      if (bytesOf(encode(() => state)) > max) throw tooLong("presence_state_bytes_max", max);
      if (joined) socket.emit("presence:update", { state });
    },
  );

  /** Sends a command that is too long for the socket as a request. */
  async function post({ payload }: Outgoing): Promise<unknown> {
    const response = await fetch(`${origin}${path}/api/v1/commands/execute`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(clientId ? { "x-client-id": clientId } : {}) },
      body: JSON.stringify({ ...payload, session_id }),
      signal: AbortSignal.timeout(answerTimeoutMs),
    });
    // A proxy on the way has limits and answers of its own.
    if (!TOO_LONG.includes(response.status)) return response.json();
    const { code, message } = tooLong("body_bytes_max");
    return { error: { code, message } };
  }

  function become(next: Status): void {
    if (status === next) return;
    status = next;
    statuses.emit(next);
  }

  /** Asks for what is missing, once until it comes. */
  function resync(reason?: string): void {
    if (asked || !joined) return;
    asked = true;
    become("catching-up");
    socket.emit("session:resync", reason ? { reason } : { ...position });
  }

  function giveUp(why: HubError): void {
    error = why;
    leave();
    socket.disconnect();
    outbox.fail(why);
    become("offline");
  }

  function leave(): void {
    joined = asked = false;
    begun = [];
    clearTimeout(retry);
    outbox.open(false);
  }

  function lost(): void {
    leave();
    become(hasNetwork() ? (position ? "stale" : "connecting") : "offline");
  }

  /** Takes sequenced events over as far as they follow. */
  function take(event: HubEvent): void {
    const { data } = event;
    if (!position || !("seq" in data)) return;
    const { epoch } = position;
    const next = position.seq + begun.length + 1;
    if (data.seq > next) return resync();
    if (data.seq < next) return;
    begun.push(event);
    if (!ENDS.has(event.event)) return;
    const whole = begun;
    begun = [];
    outbox.confirm(new Set([(data as Events["command:executed"]).command_id]), () => {
      model.apply(whole);
      position = { epoch, seq: data.seq };
    });
    whole.forEach(events.emit);
  }

  function sync(data: SessionSync): void {
    const { epoch, seq, graph, client_id, reconnect } = data;
    const first = !joined;
    [joined, asked, begun] = [true, false, []];
    limits = data.limits;
    // A name that the hub gave is kept, so that "mine" survives a reconnect.
    clientId = client_id;
    // `events` are those that are sequenced: the types say that each goes with its name.
    for (const missed of (data.events ?? []) as HubEvent[]) take(missed);
    // A sync with a hole in it would be the hub's fault; another one has been asked for.
    if (asked) return;
    begun = [];
    outbox.confirm(new Set(), () => {
      if (graph) model.load(graph);
      position = { epoch, seq };
    });
    manager.reconnectionDelay(reconnect.min_ms);
    manager.reconnectionDelayMax(reconnect.max_ms);
    manager.randomizationFactor(JITTER);
    become("live");
    if (first) outbox.open(true);
    presence.again();
  }

  function tick({ epoch, seq, state_hash }: SessionTick): void {
    if (!position) return;
    if (epoch !== position.epoch || seq > position.seq + begun.length) resync();
    else if (seq === position.seq && state_hash && state_hash !== model.hash()) resync("divergence");
  }

  function hear(told: HubEvent): void {
    switch (told.event) {
      case "session:events":
        return (told.data.events as HubEvent[]).forEach(hear);
      case "session:sync":
        sync(told.data);
        break;
      case "session:tick":
        tick(told.data);
        break;
      case "session:draining": {
        const { reconnect_in_ms } = told.data;
        // Each client has a delay of its own, so this one is to be kept to the millisecond.
        manager.reconnectionDelay(reconnect_in_ms);
        manager.reconnectionDelayMax(reconnect_in_ms);
        manager.randomizationFactor(0);
        break;
      }
      case "presence:state":
        presence.whole(told.data);
        break;
      case "presence:diff":
        presence.differ(told.data);
        break;
      default:
        // Events with a place are told when their command is whole.
        if ("seq" in told.data) return take(told);
    }
    events.emit(told);
  }
  socket.onAny((event: string, data: unknown) => data && typeof data === "object" && hear({ event, data } as HubEvent));
  socket.on("connect", () => position && become("catching-up"));
  socket.on("disconnect", (reason, details) => {
    // A close frame has the code in its context; a request that failed has the status as its description.
    const { context, description } = (details ?? {}) as { context?: { code?: unknown }; description?: unknown };
    if (TOO_LONG.includes(context?.code) || TOO_LONG.includes(description)) {
      outbox.refuse(one => (isLong(one) ? undefined : tooLong("message_bytes_max")));
    }
    // The hub sends a client away for good only if its session is no more.
    if (reason === "io server disconnect") {
      giveUp(new HubError("INVALID_SESSION", "the session was deleted"));
    } else if (!error) lost();
  });
  socket.on("connect_error", ({ message }) => {
    lost();
    // If the transport failed the socket tries again by itself. If the hub refused, its word is the message.
    if (socket.active) return;
    if (message === "OVERLOADED" || message === "DRAINING") {
      retry = setTimeout(() => socket.connect(), TURNED_AWAY_MS * (1 + Math.random()));
    } else giveUp(new HubError(message as ErrorCode, `the hub does not let this client in: ${message}`));
  });

  /** The network is back: no need to wait for the next attempt. */
  const online = (): void => {
    if (socket.connected || error) return;
    socket.disconnect().connect();
  };
  /** It is gone: better to know now than by a ping that does not come, which takes most of a minute. */
  const offline = (): void => void manager.engine?.close();
  const network = globalThis as Partial<Pick<Window, "addEventListener" | "removeEventListener">>;
  network.addEventListener?.("online", online);
  network.addEventListener?.("offline", offline);

  function history(event: CommandEvent, { scope = "mine", force }: HistoryOptions = {}): Promise<Answer> {
    return submit(event, () => ({ scope, force }), false);
  }

  /** What is wrong with a command rejects its promise, before anybody else has heard of it. */
  async function submit(event: CommandEvent, payload: () => object, optimistic: boolean): Promise<Answer> {
    if (error) throw error;
    const id = newId();
    return outbox.add(id, event, encode(() => ({ ...payload(), command_id: id })), optimistic);
  }

  const client: Client = {
    graph: {
      get roots() {
        return model.replica.roots;
      },
    },
    node: id => model.replica.nodes.get(id),
    onChange: model.changed.on,
    onEvent: events.on,
    execute(type, data, { expectedSeq: expected_seq, optimistic = true } = {}) {
      return submit("command:execute", () => ({ ...named({ command_type: type, data } as AnyCommand), expected_seq }), optimistic);
    },
    batch: (commands, options) => client.execute("Batch", { commands }, options),
    undo: options => history("command:undo", options),
    redo: options => history("command:redo", options),
    get pending() {
      return outbox.size;
    },
    presence,
    get status() {
      return status;
    },
    onStatus: statuses.on,
    get error() {
      return error;
    },
    get clientId() {
      return clientId;
    },
    get position() {
      return position;
    },
    get limits() {
      return limits;
    },
    ready: () =>
      new Promise((resolve, reject) => {
        const look = (): boolean => {
          if (error) reject(error);
          else if (status === "live") resolve();
          else return false;
          return true;
        };
        if (look()) return;
        const enough = statuses.on(() => look() && enough());
      }),
    close() {
      network.removeEventListener?.("online", online);
      network.removeEventListener?.("offline", offline);
      if (!error) giveUp(new HubError("CLOSED", "the client was closed"));
    },
  };
  return client;
}

/** Nodes get their ids here: so the guess and what comes of it are the same node, and later commands can name it. */
function named(command: AnyCommand): AnyCommand {
  const { command_type, data } = command;
  switch (command_type) {
    case "CreateNode":
      return { command_type, data: { node_id: newId(), ...data } };
    case "Batch":
      return { command_type, data: { commands: data.commands.map(one => named(one) as InBatch) } };
    default:
      return command;
  }
}
