import type { Graph, HubEvent, Json, WireNode } from "./protocol.js";

/** Node of the graph. The object is live: its fields change as events come in, and only the library changes them. */
export interface TreeNode {
  readonly id: string;
  readonly name: string;
  readonly blueprint_type_id: string;
  readonly parent_id: string | null;
  /** Replaced, never changed in place: the same object means the same properties. */
  readonly properties: Readonly<Record<string, Json>>;
  readonly metadata?: Json;
  readonly children: readonly TreeNode[];
}

/** Changes since the last call of the listeners. */
export interface Change {
  /** True if the whole graph was replaced: draw everything anew. The lists below are empty then. */
  readonly reset: boolean;
  /** True if the list of roots changed. */
  readonly roots: boolean;
  readonly created: readonly string[];
  /** Nodes whose name, properties, parent or list of children changed. */
  readonly changed: readonly string[];
  readonly deleted: readonly string[];
}

/** Reverts one step. Steps are reverted in the opposite order, so each finds the state that it left. */
export type Back = () => void;

/** Key of the list of roots, beside the ids of nodes. */
const ROOTS = "";

/** Graph that is kept up to date by events alone. Each step returns its inverse. */
export class Replica {
  roots: WireNode[] = [];
  readonly nodes = new Map<string, WireNode>();
  #before = new Map<string, string | undefined>();
  #reset = false;
  readonly #touched: () => void;

  /** `touched` is called at each step, after which listeners may be due. */
  constructor(touched: () => void) {
    this.#touched = touched;
  }

  load(graph: Graph): void {
    this.nodes.clear();
    this.roots = graph.roots;
    this.#each(this.roots, node => this.nodes.set(node.id, node));
    this.#reset = true;
    this.#touched();
  }

  /** Applies an event. Events that do not concern the graph have no effect. */
  apply({ event, data }: HubEvent): void {
    switch (event) {
      case "graph:node-created": {
        const { node_id: id, name, blueprint_type_id, parent_id, properties, metadata } = data;
        const node: WireNode = { id, name, blueprint_type_id, parent_id, properties, children: [] };
        if (metadata !== undefined) node.metadata = metadata;
        this.insert(node, parent_id, data.index);
        break;
      }
      case "graph:node-deleted":
        this.remove(data.node_id);
        break;
      case "graph:node-unlinked":
        this.move(data.child_id, null, this.roots.length);
        break;
      case "graph:node-linked":
        this.move(data.child_id, data.parent_id, data.index);
        break;
      case "graph:property-changed":
        this.set(data.node_id, data.property_key ?? data.property_id, data.property_id, data.new_value);
        if (data.orphaned) this.#mark(data.node_id, data.property_id, true);
        break;
      case "graph:property-deleted":
        this.unset(data.node_id, data.property_id);
        this.#mark(data.node_id, data.property_id, false);
        break;
      case "project:loaded":
        this.load(data.graph);
    }
  }

  /** Returns true if `id` is `below` or an ancestor of `below`. */
  isAbove(id: string, below: string | null): boolean {
    for (let at = below; at !== null; at = this.nodes.get(at)?.parent_id ?? null) if (at === id) return true;
    return false;
  }

  /** Inserts a node with its subtree, by default as the last child. */
  insert(node: WireNode, parent_id: string | null, index?: number): Back | undefined {
    const siblings = this.#siblings(parent_id);
    if (!siblings) return;
    this.#each([node], each => {
      this.#touch(each.id);
      this.nodes.set(each.id, each);
    });
    this.#touch(parent_id);
    node.parent_id = parent_id;
    siblings.splice(index ?? siblings.length, 0, node);
    return () => this.remove(node.id);
  }

  /** Removes a node with its subtree. */
  remove(id: string): Back | undefined {
    const node = this.nodes.get(id);
    if (!node) return;
    const { parent_id } = node;
    this.#each([node], each => {
      this.#touch(each.id);
      this.nodes.delete(each.id);
    });
    const index = this.#take(node);
    return () => this.insert(node, parent_id, index);
  }

  /** Moves a node. `index` is counted without the node itself. */
  move(id: string, parent_id: string | null, index?: number): Back | undefined {
    const node = this.nodes.get(id);
    const siblings = this.#siblings(parent_id);
    if (!node || !siblings) return;
    const { parent_id: from } = node;
    this.#touch(id);
    this.#touch(parent_id);
    const at = this.#take(node);
    node.parent_id = parent_id;
    siblings.splice(index ?? siblings.length, 0, node);
    return () => this.move(id, from, at);
  }

  /** Sets a property, or the name if `key` is `name`. */
  set(id: string, key: string, property_id: string, value: Json): Back | undefined {
    const node = this.nodes.get(id);
    if (!node) return;
    const { name, properties } = node;
    this.#touch(id);
    if (key === "name") node.name = String(value);
    else node.properties = { ...properties, [property_id]: value };
    return () => this.#restore(id, name, properties);
  }

  unset(id: string, property_id: string): Back | undefined {
    const node = this.nodes.get(id);
    if (!node) return;
    const { name, properties } = node;
    this.#touch(id);
    const { [property_id]: _, ...others } = properties;
    node.properties = others;
    return () => this.#restore(id, name, properties);
  }

  /** Returns the changes since the last call, or undefined if there are none. */
  changes(): Change | undefined {
    const [before, reset] = [this.#before, this.#reset];
    this.#before = new Map();
    this.#reset = false;
    const change = { reset, roots: reset, created: [] as string[], changed: [] as string[], deleted: [] as string[] };
    if (reset) return change;
    let different = false;
    for (const [key, was] of before) {
      const is = this.#look(key);
      if (is === was) continue;
      different = true;
      if (key === ROOTS) change.roots = true;
      else change[was === undefined ? "created" : is === undefined ? "deleted" : "changed"].push(key);
    }
    return different ? change : undefined;
  }

  /** Adds a property that the template does not know to `metadata.orphaned_properties`, or removes it from there. */
  #mark(id: string, property_id: string, orphaned: boolean): void {
    const node = this.nodes.get(id);
    if (!node) return;
    const metadata = node.metadata ?? {};
    if (metadata === null || typeof metadata !== "object" || Array.isArray(metadata)) return;
    const { orphaned_properties, ...others } = metadata as { [key: string]: Json };
    const listed = Array.isArray(orphaned_properties) ? orphaned_properties : [];
    if (listed.includes(property_id) === orphaned) return;
    const left = orphaned ? [...listed, property_id].sort() : listed.filter(one => one !== property_id);
    const kept = left.length > 0 ? { ...others, orphaned_properties: left } : others;
    if (Object.keys(kept).length > 0) node.metadata = kept;
    else delete node.metadata;
  }

  #siblings(parent_id: string | null): WireNode[] | undefined {
    return parent_id === null ? this.roots : this.nodes.get(parent_id)?.children;
  }

  #take(node: WireNode): number {
    this.#touch(node.parent_id);
    const siblings = this.#siblings(node.parent_id) ?? [];
    const index = siblings.indexOf(node);
    siblings.splice(index, 1);
    return index;
  }

  #restore(id: string, name: string, properties: Record<string, Json>): void {
    this.#touch(id);
    Object.assign(this.nodes.get(id) ?? {}, { name, properties });
  }

  #each(nodes: readonly WireNode[], visit: (node: WireNode) => void): void {
    for (const node of nodes) {
      visit(node);
      this.#each(node.children, visit);
    }
  }

  /** Records the state of a node or of the roots before a change, so that reverted steps are not reported as changes. */
  #touch(id: string | null): void {
    const key = id ?? ROOTS;
    if (!this.#before.has(key)) this.#before.set(key, this.#look(key));
    this.#touched();
  }

  #look(key: string): string | undefined {
    const ids = (nodes: readonly WireNode[]): string => nodes.map(node => node.id).join();
    if (key === ROOTS) return ids(this.roots);
    const node = this.nodes.get(key);
    return node && JSON.stringify([node.name, node.blueprint_type_id, node.parent_id, node.properties, ids(node.children)]);
  }
}
