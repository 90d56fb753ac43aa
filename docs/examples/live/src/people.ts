import type { Client, Json } from "@talus-hub/client";

import { colourOf, make } from "./dom.js";

/** What each window says of itself. */
export interface Person {
  client_id: string;
  name: string;
  /** The node that they have selected. */
  node_id: string | null;
}

/** Reads what another client says of itself: it may be another program, so nothing is taken for granted. */
function read(client_id: string, state: Json): Person {
  const said = state && typeof state === "object" && !Array.isArray(state) ? state : {};
  const { name, node_id } = said;
  return {
    client_id,
    name: typeof name === "string" && name ? name.slice(0, 40) : "Somebody",
    node_id: typeof node_id === "string" ? node_id : null,
  };
}

export const others = (client: Client): Person[] => client.presence.others.map(({ client_id, state }) => read(client_id, state));

/** A small sign of somebody. */
export function badge({ client_id, name }: Person, whole = false): HTMLElement {
  const sign = make("span", { class: "badge", title: name }, whole ? name : name.slice(0, 1).toUpperCase());
  sign.style.setProperty("--who", colourOf(client_id));
  return sign;
}

/** The name of whoever sits here, which the next page of theirs knows too. */
export const myName = {
  get: (): string => localStorage.getItem("name") ?? "",
  set: (name: string): void => localStorage.setItem("name", name),
};
