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
 * State of the replica:
 * - `connecting`: there is no graph yet;
 * - `live`: the graph equals the hub's;
 * - `catching-up`: connected, and waiting for missed events;
 * - `stale`: the connection is lost and the client reconnects by itself;
 * - `offline`: no reconnect is attempted, since the client was closed or not admitted, or the machine has no network.
 */
export type Status = "connecting" | "live" | "catching-up" | "stale" | "offline";

export interface ConnectOptions {
  /**
   * Address of the hub, such as `https://hub.example`, or `https://example/hub` behind a proxy that has the hub under a
   * path. In a page, the default is the page's origin.
   */
  url?: string;
  sessionId: string;
  /** Stable name of the client, by its own choice, 1 to 64 of `A-Za-z0-9_-`. With a kept name undo survives a reload. */
  clientId?: string;
  token?: string;
  /** By default a websocket, and long polling where no websocket is possible. */
  transports?: ("websocket" | "polling")[];
  /** Delivery of the events of commands: one packet each (the default), or several in a packet, less work at both ends. */
  frames?: "single" | "batched";
  /** Time without an answer after which a command is sent again, in milliseconds. By default 10,000. */
  answerTimeoutMs?: number;
  /** Most attempts for a command that gets no answer, or an answer that allows sending it again. By default 10. */
  attemptsMax?: number;
  /** Most commands without an answer. A further command is rejected with `OUTBOX_FULL`. By default 1,000. */
  pendingMax?: number;
}

export interface ExecuteOptions {
  /** Refuses the command with `CONFLICT` if the nodes that it touches changed after this `seq`. */
  expectedSeq?: number;
  /** Shows the probable effect of the command before the hub has confirmed it. By default true. */
  optimistic?: boolean;
}

export interface HistoryOptions {
  /** Owner of the step: `mine`, the default, is the last step of this client, `session` of any client. */
  scope?: "mine" | "session";
  /** Overrides later changes of others, where that is possible. */
  force?: boolean;
}

export interface Client {
  readonly graph: { readonly roots: readonly TreeNode[] };
  node(id: string): TreeNode | undefined;
  onChange(listener: (change: Change) => void): Unsubscribe;
  /** Calls the listener for each event, after the event was applied; also for missed events. */
  onEvent(listener: (event: HubEvent) => void): Unsubscribe;

  execute<T extends CommandType>(type: T, data: CommandData[T], options?: ExecuteOptions): Promise<Answer>;
  batch(commands: InBatch[], options?: ExecuteOptions): Promise<Answer>;
  undo(options?: HistoryOptions): Promise<Answer>;
  redo(options?: HistoryOptions): Promise<Answer>;
  /** Number of commands without an answer. */
  readonly pending: number;

  readonly presence: Presence;
  readonly status: Status;
  onStatus(listener: (status: Status) => void): Unsubscribe;
  /** Error that ended the client. Undefined while the client is open, also if it is `offline` without a network. */
  readonly error: HubError | undefined;
  /** Name of this client: the chosen name, or the name that the hub gave. Undefined until either is known. */
  readonly clientId: string | undefined;
  readonly position: Position | undefined;
  /** Limits of the hub. Undefined until the graph is loaded. */
  readonly limits: ClientLimits | undefined;
  /** Resolves when the graph is loaded. Rejects with `error` if the client ends first. */
  ready(): Promise<void>;
  /** Closes the client. Commands without an answer are rejected with `CLOSED`; the hub may apply them all the same. */
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

/** Events that end a command. */
const ENDS: ReadonlySet<string> = new Set(["command:executed", "command:undo", "command:redo"]);
const ANSWER_TIMEOUT_MS = 10_000;
const ATTEMPTS_MAX = 10;
const PENDING_MAX = 1_000;
/** Most bytes of a message or body beside the payload: the event's name, the namespace, the id of the acknowledgement. */
const ENVELOPE_BYTES = 128;
/** Close code of a websocket and status of HTTP for a message that was too long. */
const TOO_LONG: readonly unknown[] = [1009, 413];
/** Delay before a reconnect after `OVERLOADED` or `DRAINING`, in milliseconds; a random delay of up to as much is added. */
const TURNED_AWAY_MS = 2_000;
/** Random share of the delay before a reconnect, so that many clients do not reconnect at the same time. */
const JITTER = 0.5;

const hasNetwork = (): boolean => typeof navigator !== "object" || navigator.onLine !== false;

const tooLong = (limit: string, max?: number): HubError =>
  new HubError("LIMIT_EXCEEDED", `this is longer than ${limit}`, max === undefined ? { limit } : { limit, max });

/** Joins a session, and rejoins it until the client is closed. Throws a `TypeError` if `url` is no address of a hub. */
export function connect(options: ConnectOptions): Client {
  const { sessionId: session_id, token, frames, transports = ["websocket", "polling"] } = options;
  const { answerTimeoutMs = ANSWER_TIMEOUT_MS, attemptsMax = ATTEMPTS_MAX, pendingMax = PENDING_MAX } = options;
  const { origin, path } = addressOf(options.url);
  let limits: ClientLimits | undefined;
  let { clientId } = options;
  let position: Position | undefined;
  /** Events of a command that has not ended yet. They wait for its end, since a command is shown whole or not at all. */
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

  /** Sends a command over REST that is too long for a message of the socket. */
  async function post({ payload }: Outgoing): Promise<unknown> {
    const response = await fetch(`${origin}${path}/api/v1/commands/execute`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(clientId ? { "x-client-id": clientId } : {}) },
      body: JSON.stringify({ ...payload, session_id }),
      signal: AbortSignal.timeout(answerTimeoutMs),
    });
    // A proxy may refuse the body with its own limit and an answer that is not the hub's.
    if (!TOO_LONG.includes(response.status)) return response.json();
    const { code, message } = tooLong("body_bytes_max");
    return { error: { code, message } };
  }

  function become(next: Status): void {
    if (status === next) return;
    status = next;
    statuses.emit(next);
  }

  /** Requests a sync, unless a requested sync is still due. */
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

  /** Appends a sequenced event if its `seq` is the next, and applies the command at its last event. Resyncs at a gap. */
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
    // A name that the hub gave is kept, so that the undo of this client survives a reconnect.
    clientId = client_id;
    // The events of a sync are sequenced events, which the types cannot relate to their names.
    for (const missed of (data.events ?? []) as HubEvent[]) take(missed);
    // A sync with a gap would be a bug of the hub; `take` has requested another sync.
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
        // The hub spreads the delays of its clients, so this delay is used without a random share.
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
        // Listeners receive sequenced events after the last event of their command.
        if ("seq" in told.data) return take(told);
    }
    events.emit(told);
  }
  socket.onAny((event: string, data: unknown) => data && typeof data === "object" && hear({ event, data } as HubEvent));
  socket.on("connect", () => position && become("catching-up"));
  socket.on("disconnect", (reason, details) => {
    // A close frame has its code in `context`; a failed request has its status in `description`.
    const { context, description } = (details ?? {}) as { context?: { code?: unknown }; description?: unknown };
    if (TOO_LONG.includes(context?.code) || TOO_LONG.includes(description)) {
      outbox.refuse(one => (isLong(one) ? undefined : tooLong("message_bytes_max")));
    }
    // The hub disconnects a client from the namespace only if its session was deleted.
    if (reason === "io server disconnect") {
      giveUp(new HubError("INVALID_SESSION", "the session was deleted"));
    } else if (!error) lost();
  });
  socket.on("connect_error", ({ message }) => {
    lost();
    // After a failure of the transport the socket reconnects by itself. After a refusal, the message is the hub's code.
    if (socket.active) return;
    if (message === "OVERLOADED" || message === "DRAINING") {
      retry = setTimeout(() => socket.connect(), TURNED_AWAY_MS * (1 + Math.random()));
    } else giveUp(new HubError(message as ErrorCode, `the hub does not let this client in: ${message}`));
  });

  /** Reconnects at once when the network is back, without waiting for the next attempt. */
  const online = (): void => {
    if (socket.connected || error) return;
    socket.disconnect().connect();
  };
  /** Closes the connection at once when the network is gone: a missing ping would show that only after most of a minute. */
  const offline = (): void => void manager.engine?.close();
  const network = globalThis as Partial<Pick<Window, "addEventListener" | "removeEventListener">>;
  network.addEventListener?.("online", online);
  network.addEventListener?.("offline", offline);

  function history(event: CommandEvent, { scope = "mine", force }: HistoryOptions = {}): Promise<Answer> {
    return submit(event, () => ({ scope, force }), false);
  }

  /** Queues a command. A command that cannot be encoded rejects the promise, before the command is shown or sent. */
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

/** Adds ids to created nodes, so that the predicted node is the confirmed node, and later commands can name the node. */
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
