import type { Graph, HubEvent, Json, WireNode } from "./protocol.js";

/** A node of the graph. It is live: what it says changes as events come in, and only the library changes it. */
export interface TreeNode {
  readonly id: string;
  readonly name: string;
  readonly blueprint_type_id: string;
  readonly parent_id: string | null;
  /** Replaced, never changed in place: two reads that are the same object are the same properties. */
  readonly properties: Readonly<Record<string, Json>>;
  readonly metadata?: Json;
  readonly children: readonly TreeNode[];
}

/** What changed since the last time that listeners were told. */
export interface Change {
  /** The whole graph was replaced: draw everything anew. The lists below are empty then. */
  readonly reset: boolean;
  /** The list of roots changed. */
  readonly roots: boolean;
  readonly created: readonly string[];
  /** Nodes whose name, properties, parent or list of children changed. */
  readonly changed: readonly string[];
  readonly deleted: readonly string[];
}

/** Takes one step back. Steps are taken back in the opposite order, so each finds what it left. */
export type Back = () => void;

/** The key under which the list of roots is watched, beside the ids of nodes. */
const ROOTS = "";

/** A graph that is kept up to date by events alone. Each step tells how to take it back. */
export class Replica {
  roots: WireNode[] = [];
  readonly nodes = new Map<string, WireNode>();
  #before = new Map<string, string | undefined>();
  #reset = false;
  readonly #touched: () => void;

  /** `touched` is called at each step: something may have to be told. */
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

  /** Applies an event that changes the graph; others change nothing. */
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

  /** Whether the node is the other one or stands above it. */
  isAbove(id: string, below: string | null): boolean {
    for (let at = below; at !== null; at = this.nodes.get(at)?.parent_id ?? null) if (at === id) return true;
    return false;
  }

  /** Puts a node, and what is below it, where it is to be. */
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

  /** Takes a node away, and what is below it. */
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

  /** Puts a node elsewhere; `index` is counted without it. */
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

  /** Sets a property, or the name if that is its key. */
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

  /** What is different from the last time that this was asked; nothing if it is all as it was. */
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

  /** Lists a property in `metadata.orphaned_properties`, or takes it off: one that the template does not know. */
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

  /** Remembers how something is before it changes. Steps that are taken back leave no trace in what is told. */
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
