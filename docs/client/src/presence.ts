import type { Json, PresenceDiff, PresenceState, PresentClient } from "./protocol.js";
import { signal, type Unsubscribe } from "./signal.js";

/** Clients in the session and their states. Presence is not stored: it ends with the connection. */
export interface Presence {
  /** Sends the state of this client, now and after each reconnect. Throws if the state is not JSON, or is too long. */
  set(state: Json): void;
  /** Listed clients without this client, one entry for each `client_id`. */
  readonly others: readonly PresentClient[];
  onChange(listener: (others: readonly PresentClient[]) => void): Unsubscribe;
}

/** List of the clients in the session, kept up to date by presence events. */
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

  /** Sends the state again after a reconnect, since the hub drops the state with the connection. */
  again(): void {
    if (this.#mine === undefined) return;
    try {
      this.#send(this.#mine);
    } catch {
      // The hub has a smaller limit now, or the page has changed the object since: the others see no state.
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
