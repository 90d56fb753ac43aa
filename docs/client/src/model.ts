import { stateHash } from "./hash.js";
import { foresee, type AnyCommand } from "./optimism.js";
import type { Graph, HubEvent } from "./protocol.js";
import { Replica, type Back, type Change } from "./replica.js";
import { signal } from "./signal.js";

/** Prediction of a command's effect, until the hub confirms or refuses the command. */
export interface Foreseen {
  command?: AnyCommand;
  back?: Back | undefined;
}

/**
 * Shown graph: the confirmed state of the hub, with predictions of the client's unconfirmed commands on top. There is a
 * single graph. Confirmed events are applied below the predictions: these are taken back, and made again afterwards.
 */
export class Model {
  readonly changed = signal<Change>();
  readonly replica = new Replica(() => this.#later());
  #foreseen: Foreseen[] = [];
  #telling = false;

  /** Shows the probable effect of a command. */
  foresee(one: Foreseen): void {
    this.#foreseen.push(one);
    this.#guess(one);
  }

  /**
   * Runs `apply` on the confirmed state, without predictions, then predicts again. Drops the predictions for which `gone`
   * is true: of refused commands, or replaced by `apply`.
   */
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

  /** State hash of the confirmed graph. */
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
      // The command is malformed, and the hub will refuse it: there is no effect to show.
      one.back = undefined;
    }
  }

  /** Calls the listeners in a microtask, once for all changes of the current task. */
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
