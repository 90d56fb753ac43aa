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
  io: { engine: { close(): void } };
}

/** Stands between the library and its socket: loses packets, changes them, and knows what was sent. */
export interface Tap {
  /** What was sent: name and payload. */
  readonly sent: { event: string; payload: Record<string, unknown> }[];
  /** Events for which it says so are lost. */
  lose: (event: string, data: Record<string, unknown>) => boolean;
  /** What becomes of an answer; nothing: it is lost. */
  answer: (reply: Record<string, unknown>) => Record<string, unknown> | undefined;
  /** Breaks the connection of every socket that was seen, as a lost network does. */
  drop(): void;
  remove(): void;
}

export function tap(): Tap {
  const inner = Socket.prototype as unknown as Inner;
  const { onevent, onack, emit } = inner;
  const sockets = new Set<Inner>();
  const own: Tap = {
    sent: [],
    lose: () => false,
    answer: reply => reply,
    drop: () => sockets.forEach(socket => socket.io.engine.close()),
    remove: () => void Object.assign(inner, { onevent, onack, emit }),
  };
  inner.emit = function (this: Inner, event: string, ...rest: unknown[]) {
    if (/^(command|session|presence):/.test(event)) own.sent.push({ event, payload: rest[0] as Record<string, unknown> });
    return emit.call(this, event, ...rest);
  };
  inner.onevent = function (this: Inner, packet) {
    sockets.add(this);
    const [event, data] = packet.data as [string, Record<string, unknown>];
    if (!own.lose(event, data)) onevent.call(this, packet);
  };
  inner.onack = function (this: Inner, packet) {
    const reply = own.answer(packet.data[0] as Record<string, unknown>);
    if (reply) onack.call(this, { ...packet, data: [reply] });
  };
  return own;
}
