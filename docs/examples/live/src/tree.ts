import type { Client, TreeNode } from "@talus-hub/client";

import { arrange, make } from "./dom.js";
import { badge, others } from "./people.js";

interface Row {
  item: HTMLLIElement;
  line: HTMLElement;
  name: HTMLElement;
  kind: HTMLElement;
  people: HTMLElement;
  below: HTMLUListElement;
}

/** Actions of the user on the tree. */
export interface TreeWishes {
  select(id: string): void;
  /** Moves a node under another, as its last child. */
  moveUnder(id: string, parent: string): void;
  key(event: KeyboardEvent): void;
}

/** Tree of the graph. Rows are created once and updated where the graph changes. */
export class Tree {
  readonly element = make("ul", { role: "tree", "aria-label": "Project", class: "tree" });
  readonly #rows = new Map<string, Row>();
  readonly #client: Client;
  readonly #wishes: TreeWishes;

  constructor(client: Client, wishes: TreeWishes) {
    this.#client = client;
    this.#wishes = wishes;
    this.element.addEventListener("keydown", event => wishes.key(event));
  }

  /** Updates the rows. `kindOf` returns the name of a node's type. */
  draw(selected: string | undefined, kindOf: (node: TreeNode) => string): void {
    const people = others(this.#client);
    const seen = new Set<string>();
    const draw = (nodes: readonly TreeNode[], list: HTMLUListElement): void => {
      arrange(
        list,
        nodes.map(node => {
          seen.add(node.id);
          const row = this.#rows.get(node.id) ?? this.#row(node.id);
          row.name.textContent = node.name;
          row.kind.textContent = kindOf(node);
          row.item.setAttribute("aria-label", node.name);
          row.item.setAttribute("aria-selected", String(node.id === selected));
          row.item.tabIndex = node.id === selected || (!selected && nodes === this.#client.graph.roots) ? 0 : -1;
          row.people.replaceChildren(...people.filter(person => person.node_id === node.id).map(person => badge(person)));
          row.below.hidden = node.children.length === 0;
          if (row.below.hidden) row.item.removeAttribute("aria-expanded");
          else row.item.setAttribute("aria-expanded", "true");
          draw(node.children, row.below);
          return row.item;
        }),
      );
    };
    draw(this.#client.graph.roots, this.element);
    for (const id of this.#rows.keys()) if (!seen.has(id)) this.#rows.delete(id);
  }

  focus(id: string): void {
    this.#rows.get(id)?.item.focus();
  }

  /** Returns the ids of the rows, from top to bottom. */
  order(): string[] {
    return [...this.element.querySelectorAll<HTMLElement>("[role=treeitem]")].map(item => item.dataset["id"] ?? "");
  }

  #row(id: string): Row {
    const name = make("span", { class: "name" });
    const kind = make("span", { class: "kind" });
    const people = make("span", { class: "people" });
    const line = make("div", { class: "line", draggable: "true" }, name, people, kind);
    const below = make("ul", { role: "group" });
    const item = make("li", { role: "treeitem", "data-id": id }, line, below);
    line.addEventListener("click", () => {
      this.#wishes.select(id);
      item.focus();
    });
    line.addEventListener("dragstart", event => event.dataTransfer?.setData("text/plain", id));
    line.addEventListener("dragover", event => {
      event.preventDefault();
      line.classList.add("over");
    });
    line.addEventListener("dragleave", () => line.classList.remove("over"));
    line.addEventListener("drop", event => {
      event.preventDefault();
      line.classList.remove("over");
      const dragged = event.dataTransfer?.getData("text/plain");
      if (dragged && dragged !== id) this.#wishes.moveUnder(dragged, id);
    });
    const row = { item, line, name, kind, people, below };
    this.#rows.set(id, row);
    return row;
  }
}
