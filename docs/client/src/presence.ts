import type { Json, PresenceDiff, PresenceState, PresentClient } from "./protocol.js";
import { signal, type Unsubscribe } from "./signal.js";

/** Who is here and what they look at. Nothing of it is kept anywhere: it is gone with the connection. */
export interface Presence {
  /** Tells the others what this client looks at, now and after each reconnect. Throws if it is not JSON, or too long. */
  set(state: Json): void;
  /** Everybody but this client, by `client_id`. */
  readonly others: readonly PresentClient[];
  onChange(listener: (others: readonly PresentClient[]) => void): Unsubscribe;
}

/** Keeps the list of who is here. */
export class Here implements Presence {
  #clients = new Map<string, PresentClient>();
  #mine: Json | undefined;
  readonly #changed = signal<readonly PresentClient[]>();
  readonly #self: () => string | undefined;
  readonly #send: (state: Json) => void;

  constructor(self: () => string | undefined, send: (state: Json) => void) {
    this.#self = self;
    this.#send = send;
  }

  get others(): readonly PresentClient[] {
    return [...this.#clients.values()].filter(client => client.client_id !== this.#self());
  }

  readonly onChange = this.#changed.on;

  set(state: Json): void {
    this.#send(state);
    this.#mine = state;
  }

  /** The hub forgets with the connection what this client said of itself. */
  again(): void {
    if (this.#mine === undefined) return;
    try {
      this.#send(this.#mine);
    } catch {
      // The hub has come back with a smaller limit, or the page has changed the object since: the others see nothing.
    }
  }

  whole({ clients }: PresenceState): void {
    this.#clients = new Map(clients.map(client => [client.client_id, client]));
    this.#changed.emit(this.others);
  }

  differ({ joins, updates, leaves }: PresenceDiff): void {
    for (const client of [...joins, ...updates]) this.#clients.set(client.client_id, client);
    for (const client_id of leaves) this.#clients.delete(client_id);
    this.#changed.emit(this.others);
  }
}
