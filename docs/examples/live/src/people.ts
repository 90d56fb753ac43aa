import type { Client, Json } from "@talus-hub/client";

import { colourOf, make } from "./dom.js";

/** Presence state of another window. */
export interface Person {
  client_id: string;
  name: string;
  /** Selected node. Null if no node is selected. */
  node_id: string | null;
}

/** Reads the presence state of another client. The state is validated, since the client may be a different program. */
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

/** Creates the badge of a person: the initial, or the whole name. */
export function badge({ client_id, name }: Person, whole = false): HTMLElement {
  const sign = make("span", { class: "badge", title: name }, whole ? name : name.slice(0, 1).toUpperCase());
  sign.style.setProperty("--who", colourOf(client_id));
  return sign;
}

/** Name of the user, kept in `localStorage` for the next page. */
export const myName = {
  get: (): string => localStorage.getItem("name") ?? "",
  set: (name: string): void => localStorage.setItem("name", name),
};
