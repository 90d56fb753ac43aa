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

/** What the person at the tree wants. */
export interface TreeWishes {
  select(id: string): void;
  /** Put a node under another, at the end. */
  moveUnder(id: string, parent: string): void;
  key(event: KeyboardEvent): void;
}

/** The tree, drawn once and then changed where the graph changes. */
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

  /** `kindOf` tells what to call the type of a node. */
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
          row.item.setAttribute("aria-selected", String(node.id === selected));
          row.item.tabIndex = node.id === selected || (!selected && nodes === this.#client.graph.roots) ? 0 : -1;
          row.people.replaceChildren(...people.filter(person => person.node_id === node.id).map(person => badge(person)));
          row.below.hidden = node.children.length === 0;
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

  /** The ids as they stand on the page, from top to bottom. */
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
