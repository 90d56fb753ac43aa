import { connect, HubError, newId, windowClientId, type Answer, type Json, type TreeNode } from "@talus-hub/client";

import { typesOf, type NodeType } from "./api.js";
import { Details } from "./details.js";
import { make, say } from "./dom.js";
import { badge, myName, others } from "./people.js";
import { Tree } from "./tree.js";

/** Text for each status. */
const STATUS = {
  connecting: "Connecting…",
  live: "Live",
  "catching-up": "Catching up…",
  stale: "Reconnecting…",
  offline: "Offline",
};

/** Draws the page of a session. */
export async function live(session: string): Promise<void> {
  // Two windows are two clients, each with its own undo, which survives a reload.
  const client = connect({ sessionId: session, clientId: await windowClientId() });
  let types = new Map<string, NodeType>();
  let selected: string | undefined;
  /** Order of the nodes when last drawn. If the selected node is deleted, the nearest node above it is selected. */
  let before: string[] = [];

  const node = (): TreeNode | undefined => (selected ? client.node(selected) : undefined);
  const siblings = (of: TreeNode): readonly TreeNode[] =>
    of.parent_id === null ? client.graph.roots : (client.node(of.parent_id)?.children ?? []);

  // Commands.

  /** Shows the message of a refused command. The library has taken its effect back by then. */
  const attempt = (command: Promise<Answer>): void => void command.catch((error: unknown) => say(refusal(error)));
  const set = (node_id: string, property_id: string, new_value: Json): void =>
    attempt(client.execute("UpdateProperty", { node_id, property_id, new_value }));
  const move = (node_id: string, new_parent_id: string | null, index?: number): void =>
    attempt(client.execute("MoveNode", { node_id, new_parent_id, ...(index === undefined ? {} : { index }) }));

  function add(under: TreeNode | undefined, blueprint_type_id: string, after?: TreeNode): void {
    // The id is generated here, so that the node can be selected before the hub has received the command.
    const node_id = newId();
    const index = after && siblings(after).indexOf(after) + 1;
    const name = `New ${types.get(blueprint_type_id)?.name ?? "node"}`;
    attempt(
      client.execute("CreateNode", {
        node_id,
        blueprint_type_id,
        name,
        parent_id: under?.id ?? null,
        ...(index === undefined ? {} : { index }),
      }),
    );
    select(node_id);
    details.rename();
  }

  function remove(): void {
    const gone = node();
    if (!gone) return;
    const list = siblings(gone);
    const at = list.indexOf(gone);
    const next = list[at + 1] ?? list[at - 1];
    attempt(client.execute("DeleteNode", { node_id: gone.id }));
    select(next?.id ?? gone.parent_id ?? undefined, true);
  }

  function shift(by: -1 | 1): void {
    const one = node();
    if (!one) return;
    const index = siblings(one).indexOf(one) + by;
    if (index >= 0 && index < siblings(one).length) attempt(client.execute("ReorderNode", { node_id: one.id, new_index: index }));
  }

  function indent(): void {
    const one = node();
    const above = one && siblings(one)[siblings(one).indexOf(one) - 1];
    if (one && above) move(one.id, above.id);
  }

  function outdent(): void {
    const one = node();
    const parent = one?.parent_id ? client.node(one.parent_id) : undefined;
    if (one && parent) move(one.id, parent.parent_id, siblings(parent).indexOf(parent) + 1);
  }

  function history(what: "undo" | "redo", force = false): void {
    client[what]({ force }).catch((error: unknown) => {
      const conflict = error instanceof HubError && error.code === "UNDO_CONFLICT" && !force;
      if (conflict) ask(error, () => history(what, true));
      else say(refusal(error));
    });
  }

  // View.

  const status = make("span", { role: "status", class: "status" });
  const title = make("h1", {}, "…");
  const here = make("ul", { class: "here", "aria-label": "Who else is here" });
  const who = make("input", { "aria-label": "Your name", placeholder: "Your name", value: myName.get(), maxlength: "40", autocomplete: "off" });
  const kind = make("select", { "aria-label": "Type of a new node" });
  const question = make("dialog", { "aria-labelledby": "question" });
  const details = new Details(set);
  const tree = new Tree(client, { select: id => select(id), moveUnder: (id, parent) => move(id, parent), key: pressed });
  const button = (label: string, does: () => void, hint = ""): HTMLButtonElement =>
    make("button", { type: "button", onclick: does, title: hint }, label);
  const ofSelected = [
    button("Add child", addChild, "Insert"),
    button("Add sibling", addSibling, "Enter"),
    button("↑", () => shift(-1), "Move up: Alt+↑"),
    button("↓", () => shift(1), "Move down: Alt+↓"),
    button("→", indent, "Move below the one above: Alt+→"),
    button("←", outdent, "Move out: Alt+←"),
    button("Delete", remove, "Delete"),
  ];
  ["Move up", "Move down", "Indent", "Outdent"].forEach((label, at) => ofSelected[at + 2]?.setAttribute("aria-label", label));
  const addRoot = button("Add root", () => add(undefined, "task"));

  document.body.append(
    make(
      "header",
      {},
      title,
      status,
      make("div", { class: "spring" }),
      here,
      who,
      button("Undo mine", () => history("undo"), "Ctrl+Z"),
      button("Redo mine", () => history("redo"), "Ctrl+Shift+Z"),
    ),
    make("div", { role: "toolbar", "aria-label": "Change the tree", class: "toolbar" }, kind, ...ofSelected, addRoot),
    make("main", { class: "live" }, tree.element, details.element),
    question,
  );

  function select(id: string | undefined, focus = false): void {
    selected = id;
    client.presence.set({ name: who.value, node_id: id ?? null });
    draw();
    if (focus && id) tree.focus(id);
  }

  function draw(): void {
    if (selected && !client.node(selected) && client.status !== "connecting") {
      // Another client has deleted the node: select the nearest node above it that still exists.
      const upTo = before.slice(0, Math.max(before.indexOf(selected), 0)).reverse();
      selected = upTo.find(id => client.node(id)) ?? client.graph.roots[0]?.id;
    }
    tree.draw(selected, ({ blueprint_type_id }) => types.get(blueprint_type_id)?.name ?? blueprint_type_id);
    before = tree.order();
    const one = node();
    details.draw(one, one && types.get(one.blueprint_type_id));
    for (const each of ofSelected) each.disabled = !one;
    addRoot.hidden = types.size > 0;
    const allowed = one ? (types.get(one.blueprint_type_id)?.allowed_children ?? []) : [];
    const options = [...types.values()].filter(type => allowed.includes(type.id) || allowed.includes(type.key));
    const signature = options.map(type => type.id).join();
    if (kind.dataset["of"] !== signature) {
      kind.dataset["of"] = signature;
      kind.replaceChildren(...options.map(type => make("option", { value: type.id }, type.name)));
    }
    kind.hidden = options.length === 0;
    if (types.size > 0 && ofSelected[0]) ofSelected[0].disabled = options.length === 0;
  }

  function drawPeople(): void {
    here.replaceChildren(...others(client).map(person => make("li", {}, badge(person, true))));
    draw();
  }

  function drawStatus(): void {
    status.textContent = client.error ? `${STATUS.offline}: ${client.error.message}` : STATUS[client.status];
    status.dataset["status"] = client.status;
  }

  function ask(conflict: HubError, anyway: () => void): void {
    const blocker = conflict.details["blocked_by"] as { client_id?: string } | null | undefined;
    const person = others(client).find(({ client_id }) => client_id === blocker?.client_id);
    question.replaceChildren(
      make("p", { id: "question" }, `${person?.name ?? "Somebody else"} has changed this since: ${conflict.message}.`),
      make("form", { method: "dialog" }, make("button", {}, "Leave it"), make("button", { class: "primary", onclick: anyway }, "Do it anyway")),
    );
    question.showModal();
  }

  function addChild(): void {
    const one = node();
    if (one && !ofSelected[0]?.disabled) add(one, kind.value || one.blueprint_type_id);
  }

  function addSibling(): void {
    const one = node();
    const parent = one?.parent_id ? client.node(one.parent_id) : undefined;
    // A project with a template has one root.
    if (one && (parent || types.size === 0)) add(parent, one.blueprint_type_id, one);
  }

  function pressed(event: KeyboardEvent): void {
    const order = tree.order();
    const at = order.indexOf(selected ?? "");
    const go = (id: string | null | undefined): void => void (id && select(id, true));
    const keys: Record<string, () => void> = {
      ArrowDown: () => go(order[at + 1]),
      ArrowUp: () => go(order[at - 1]),
      ArrowRight: () => go(node()?.children[0]?.id),
      ArrowLeft: () => go(node()?.parent_id),
      Home: () => go(order[0]),
      End: () => go(order.at(-1)),
      "Alt+ArrowDown": () => shift(1),
      "Alt+ArrowUp": () => shift(-1),
      "Alt+ArrowRight": indent,
      "Alt+ArrowLeft": outdent,
      Enter: addSibling,
      Insert: addChild,
      Delete: remove,
      F2: () => details.rename(),
    };
    const does = keys[`${event.altKey ? "Alt+" : ""}${event.key}`];
    if (!does) return;
    event.preventDefault();
    does();
  }

  addEventListener("keydown", event => {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
    const z = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    // A text field has its own undo.
    if (!z || typing) return;
    event.preventDefault();
    history(event.shiftKey ? "redo" : "undo");
  });
  who.addEventListener("input", () => {
    myName.set(who.value);
    select(selected);
  });

  client.onChange(draw);
  client.onStatus(drawStatus);
  client.presence.onChange(drawPeople);
  drawStatus();
  await client.ready().then(
    () => select(client.graph.roots[0]?.id),
    () => undefined,
  );
  const known = await typesOf(session).catch(() => undefined);
  if (!known) return;
  types = known.types;
  title.textContent = document.title = known.name;
  draw();
}

const refusal = (error: unknown): string => (error instanceof HubError ? error.message : String(error));
