import { stateHash } from "./hash.js";
import { foresee, type AnyCommand } from "./optimism.js";
import type { Graph, HubEvent } from "./protocol.js";
import { Replica, type Back, type Change } from "./replica.js";
import { signal } from "./signal.js";

/** A command that has been foreseen, until the hub says what really happened. */
export interface Foreseen {
  command?: AnyCommand;
  back?: Back | undefined;
}

/**
 * The graph as it is shown: what the hub has confirmed, with the client's own unconfirmed commands on top. There is one
 * graph and not two. Whatever is confirmed is applied below the guesses: they are taken back, and made again after it.
 */
export class Model {
  readonly changed = signal<Change>();
  readonly replica = new Replica(() => this.#later());
  #foreseen: Foreseen[] = [];
  #telling = false;

  /** Shows what a command will probably do. */
  foresee(one: Foreseen): void {
    this.#foreseen.push(one);
    this.#guess(one);
  }

  /** Forgets guesses: they were refused, or what is applied in `confirm` replaces them. */
  confirm(gone: (one: Foreseen) => boolean, apply?: () => void): void {
    for (const one of [...this.#foreseen].reverse()) one.back?.();
    apply?.();
    this.#foreseen = this.#foreseen.filter(one => !gone(one));
    for (const one of this.#foreseen) this.#guess(one);
  }

  apply(events: readonly HubEvent[]): void {
    for (const event of events) this.replica.apply(event);
  }

  load(graph: Graph): void {
    this.replica.load(graph);
  }

  /** The hash of what is confirmed. */
  hash(): string {
    let hash = "";
    this.confirm(
      () => false,
      () => (hash = stateHash(this.replica.roots)),
    );
    return hash;
  }

  #guess(one: Foreseen): void {
    try {
      one.back = one.command && foresee(this.replica, one.command);
    } catch {
      // A command of a shape that the hub will refuse: there is nothing to show.
      one.back = undefined;
    }
  }

  /** Listeners are told once for everything that happens in one go, when it is over. */
  #later(): void {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      const change = this.replica.changes();
      if (change) this.changed.emit(change);
    });
  }
}
