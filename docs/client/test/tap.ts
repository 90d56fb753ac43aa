import { Socket } from "socket.io-client";

/** A packet as `socket.io-client` hands it on: the event's name and payload, or the answer to an emit. */
interface Packet {
  id?: number;
  data: unknown[];
}
interface Inner {
  onevent(packet: Packet): void;
  onack(packet: Packet): void;
  emit(event: string, ...rest: unknown[]): unknown;
  ids: number;
  io: { engine: { close(): void; _onClose(reason: string, details?: object): void } };
}

/** Stands between the library and its socket: loses packets, changes them, and knows what was sent. */
export interface Tap {
  /** What was sent: name and payload. */
  readonly sent: { event: string; payload: Record<string, unknown> }[];
  /** Events for which it says so are lost. */
  lose: (event: string, data: Record<string, unknown>) => boolean;
  /** Changes an event before it is heard. */
  event: (event: string, data: Record<string, unknown>) => unknown;
  /** What becomes of an answer; nothing: it is lost. */
  answer: (reply: Record<string, unknown>, payload?: Record<string, unknown>) => unknown;
  /** Breaks the connection of every socket that was seen, as a lost network does, or for a reason. */
  drop(details?: object): void;
  remove(): void;
}

export function tap(): Tap {
  const inner = Socket.prototype as unknown as Inner;
  const { onevent, onack, emit } = inner;
  const sockets = new Set<Inner>();
  /** By the number under which the answer comes. */
  const payloads = new Map<number, Record<string, unknown>>();
  const own: Tap = {
    sent: [],
    lose: () => false,
    event: () => undefined,
    answer: reply => reply,
    drop: details =>
      sockets.forEach(({ io: { engine } }) => (details ? engine._onClose("transport close", details) : engine.close())),
    remove: () => void Object.assign(inner, { onevent, onack, emit }),
  };
  inner.emit = function (this: Inner, event: string, ...rest: unknown[]) {
    if (/^(command|session|presence):/.test(event)) own.sent.push({ event, payload: rest[0] as Record<string, unknown> });
    payloads.set(this.ids, rest[0] as Record<string, unknown>);
    return emit.call(this, event, ...rest);
  };
  inner.onevent = function (this: Inner, packet) {
    sockets.add(this);
    const [event, data] = packet.data as [string, Record<string, unknown>];
    own.event(event, data);
    if (!own.lose(event, data)) onevent.call(this, packet);
  };
  inner.onack = function (this: Inner, packet) {
    const reply = own.answer(packet.data[0] as Record<string, unknown>, payloads.get(packet.id ?? -1));
    if (reply !== undefined) onack.call(this, { ...packet, data: [reply] });
  };
  return own;
}
