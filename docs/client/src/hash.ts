import type { Json, WireNode } from "./protocol.js";

const utf8 = new TextEncoder();
const TWO_32 = 2 ** 32;
const mod64 = (n: bigint): bigint => BigInt.asUintN(64, n);

/** Canonical text of a value (RFC 8785). */
export function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const field = (key: string): string => `${JSON.stringify(key)}:${canonical(value[key] ?? null)}`;
  return `{${Object.keys(value).sort().map(field).join()}}`;
}

/** Hash of a record. FNV-1a is kept in two halves of 32 bits, which is many times faster than with a BigInt. */
export function recordHash(record: Json[]): bigint {
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  for (const byte of utf8.encode(canonical(record))) {
    const mixed = (low ^ byte) >>> 0;
    const product = mixed * 0x1b3;
    high = (Math.imul(high, 0x1b3) + (mixed << 8) + Math.floor(product / TWO_32)) >>> 0;
    low = product >>> 0;
  }
  let h = (BigInt(high) << 32n) | BigInt(low);
  h = mod64((h ^ (h >> 33n)) * 0xff51afd7ed558ccdn);
  h = mod64((h ^ (h >> 33n)) * 0xc4ceb9fe1a85ec53n);
  return h ^ (h >> 33n);
}

interface Known {
  name: string;
  properties: Record<string, Json>;
  /** Ids of the parent and of the previous sibling. */
  place: string;
  hash: bigint;
}

/** Hashes by node, kept as long as the node: a tick costs only the hashes of nodes that changed since the last tick. */
const known = new WeakMap<WireNode, Known>();

function nodeHash(node: WireNode, previous: string | null): bigint {
  const { id, name, blueprint_type_id, parent_id, properties } = node;
  const place = `${parent_id} ${previous}`;
  const found = known.get(node);
  // Properties are replaced and never changed in place, so the same object means the same properties.
  if (found?.properties === properties && found.name === name && found.place === place) return found.hash;
  let hash = recordHash(["node", id, blueprint_type_id, name]) + recordHash(["place", id, parent_id, previous]);
  for (const key in properties) hash += recordHash(["property", id, key, properties[key] ?? null]);
  known.set(node, { name, properties, place, hash });
  return hash;
}

function sum(siblings: readonly WireNode[]): bigint {
  let total = 0n;
  let previous: string | null = null;
  for (const node of siblings) {
    total += nodeHash(node, previous) + sum(node.children);
    previous = node.id;
  }
  return mod64(total);
}

/** State hash of a graph: 16 hexadecimal digits, equal to the hub's `state_hash` of the same graph. */
export const stateHash = (roots: readonly WireNode[]): string => sum(roots).toString(16).padStart(16, "0");
