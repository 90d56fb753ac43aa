import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { recordHash, stateHash } from "../src/hash.js";
import type { Graph, Json } from "../src/index.js";
import { Model } from "../src/model.js";
import { Replica } from "../src/replica.js";

const page = readFileSync(join(process.env["HUB_SOURCE"] ?? "../..", "docs/PROTOCOL.md"), "utf8");
const [, section = ""] = page.split("Test vectors");
const [, vectors = ""] = /```json\n(.*?)```/s.exec(section) ?? [];
const { records, graphs } = JSON.parse(vectors) as {
  records: { record: Json[]; hash: string }[];
  graphs: { graph: Graph; state_hash: string }[];
};

test("the vectors of the protocol", () => {
  expect(records.length).toBeGreaterThan(0);
  for (const { record, hash } of records) expect(recordHash(record).toString(16).padStart(16, "0")).toBe(hash);
  for (const { graph, state_hash } of graphs) expect(stateHash(graph.roots)).toBe(state_hash);
});

test("what is remembered of nodes is never stale: each kind of step changes the hash, and taking it back restores it", () => {
  const replica = new Replica(() => undefined);
  const node = (id: string): Graph["roots"][number] => ({
    id,
    name: id,
    blueprint_type_id: "task",
    parent_id: null,
    properties: { color: "red" },
    children: [],
  });
  replica.load({ roots: [node("a"), node("b"), node("c")] });
  replica.move("c", "b", 0);
  const before = stateHash(replica.roots);
  for (const step of [
    () => replica.insert(node("d"), "b", 0),
    () => replica.remove("b"),
    () => replica.move("a", null, 1),
    () => replica.move("c", "a", 0),
    () => replica.set("a", "name", "name", "other"),
    () => replica.set("a", "color", "color", ["blue"]),
    () => replica.unset("c", "color"),
  ]) {
    const back = step();
    expect(stateHash(replica.roots)).not.toBe(before);
    back?.();
    expect(stateHash(replica.roots)).toBe(before);
  }
});

test("the hash is that of what is confirmed, whatever is shown on top of it", () => {
  const model = new Model();
  model.load({ roots: [] });
  expect(model.hash()).toBe("0000000000000000");
  const data = { node_id: "a", blueprint_type_id: "task", name: "mine" };
  model.foresee({ command: { command_type: "CreateNode", data } });
  expect(model.hash()).toBe("0000000000000000");
  expect(model.replica.roots.map(node => node.name)).toEqual(["mine"]);
  model.confirm(() => true, () => model.load({ roots: model.replica.roots.concat([]) }));
  expect(model.replica.roots).toEqual([]);
});
