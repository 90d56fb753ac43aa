import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { connect, type Client, type ConnectOptions, type InBatch, type Json } from "../src/index.js";
import { startHub, type Hub } from "./hub.js";
import { tap, type Tap } from "./tap.js";
import { outline, until, untilStatus } from "./waiting.js";

let hub: Hub;
let session: string;
let between: Tap;
const clients: Client[] = [];

const SOON = { TALUS_HUB_REALTIME__RECONNECT_MIN_MS: "20", TALUS_HUB_REALTIME__RECONNECT_MAX_MS: "100" };

beforeAll(async () => {
  hub = await startHub(SOON);
});
afterAll(() => hub.end());
beforeEach(async () => {
  session = await hub.session();
  between = tap();
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  between.remove();
});

async function join(more: Partial<ConnectOptions> = {}): Promise<Client> {
  const client = connect({ url: hub.url, sessionId: session, ...more });
  clients.push(client);
  await client.ready();
  return client;
}

const create = (name: string, properties: Record<string, Json> = {}): InBatch => ({
  command_type: "CreateNode",
  data: { blueprint_type_id: "task", name, properties },
});

/** Legal by every limit of commands, and longer than the longest message. */
const LARGE = Array.from({ length: 900 }, (_, at) => create(`${at}`, { text: "x".repeat(1_400) }));

/** The command after one that cannot be sent is answered, over the same connection. */
async function expectTheNextGoesOn(client: Client, roots = "next"): Promise<void> {
  await client.execute("CreateNode", { blueprint_type_id: "task", name: "next" });
  expect([outline(client.graph.roots), client.pending, client.status]).toEqual([roots, 0, "live"]);
}

/** P9: a command that is longer than a message may be never leaves, and those after it do. */
test.each(["websocket", "polling"] as const)("a batch beyond message_bytes_max is refused over %s and blocks nothing", async transport => {
  const client = await join({ transports: [transport] });
  const statuses: string[] = [];
  client.onStatus(status => statuses.push(status));
  expect(client.limits).toMatchObject({ message_bytes_max: 1_048_576, batch_commands_max: 1_000 });
  const refused = client.batch(LARGE);
  const next = expectTheNextGoesOn(client);
  await expect(refused).rejects.toMatchObject({ code: "LIMIT_EXCEEDED", details: { limit: "message_bytes_max", max: 1_048_576 } });
  await next;
  expect(statuses).toEqual([]);
});

/** P4, P6: the way that a command takes does not show: it is undone as the client's own. */
test("a batch beyond message_bytes_max goes over REST if a body may be that long", async () => {
  const roomy = await startHub({ ...SOON, TALUS_HUB_SERVER__BODY_BYTES_MAX: "4000000" });
  session = await roomy.session();
  const client = await join({ url: roomy.url, clientId: "ann" });
  const done = client.batch(LARGE);
  const next = client.execute("CreateNode", { blueprint_type_id: "task", name: "next" });
  expect((await done).node_ids?.length).toBe(900);
  expect((await next).seq).toBe(903);
  expect(between.sent.filter(({ event }) => event.startsWith("command:")).length).toBe(1);
  await client.undo();
  await client.undo();
  expect(client.graph.roots).toEqual([]);
  client.close();
  await roomy.end();
});

/** A batch that was queued before the limit was known is refused when it is. */
test("a command taken before the limits are known is measured when they are", async () => {
  const client = connect({ url: hub.url, sessionId: session });
  clients.push(client);
  const refused = client.batch(LARGE);
  const next = client.execute("CreateNode", { blueprint_type_id: "task", name: "next" });
  await expect(refused).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  await next;
  expect(outline(client.graph.roots)).toBe("next");
});

const cycle: { self?: unknown } = {};
cycle.self = cycle;
const deep = (): unknown => {
  let value: unknown = 0;
  for (let level = 0; level < 100_000; level++) value = [value];
  return value;
};

/** P9: what JSON cannot say is an error of the one who said it, at once. */
test.each<[string, unknown]>([
  ["BigInt", 10n],
  ["a BigInt within", { deep: [1, { n: 10n }] }],
  ["a cycle", cycle],
  ["a toJSON that throws", { toJSON: () => { throw new Error("of the page"); } }],
  ["a getter that throws", { get x(): number { throw new Error("of the page"); } }],
  ["undefined", undefined],
  ["undefined in a list", [1, undefined]],
  ["a function", () => 1],
  ["a function within", { f: () => 1 }],
  ["a symbol", Symbol("s")],
  ["NaN", NaN],
  ["Infinity", [Infinity]],
  ["bytes", new Uint8Array(3)],
  ["a buffer", Buffer.from("x")],
  ["a map", new Map([[1, 2]])],
  ["more levels than the stack has", deep()],
])("%s rejects its own command and nothing else", async (_, value) => {
  const client = await join();
  const { node_id = "" } = await client.execute("CreateNode", { blueprint_type_id: "task", name: "A" });
  const refused = client.execute("UpdateProperty", { node_id, property_id: "p", new_value: value as Json });
  expect([client.pending, client.node(node_id)?.properties]).toEqual([0, {}]);
  const batched = client.batch([create("B"), create("C", { p: [value] as Json })]);
  expect([client.pending, outline(client.graph.roots)]).toEqual([0, "A"]);
  await expect(refused).rejects.toMatchObject({ name: "HubError", code: "INVALID_REQUEST" });
  await expect(batched).rejects.toMatchObject({ code: "INVALID_REQUEST" });
  await expectTheNextGoesOn(client, "A, next");
});

test("fields that are undefined are left out, and dates are what their JSON is", async () => {
  const client = await join();
  const data = { blueprint_type_id: "task", name: "A", parent_id: undefined, index: undefined, properties: { on: new Date(0), no: undefined } };
  const { node_id = "" } = await client.execute("CreateNode", data as never);
  expect(client.node(node_id)?.properties).toEqual({ on: "1970-01-01T00:00:00.000Z" });
  await expectTheNextGoesOn(client, "A, next");
});

/** What the types of TypeScript forbid, JavaScript sends. */
test.each<[string, (client: Client) => Promise<unknown>]>([
  ["no data", client => client.execute("CreateNode", undefined as never)],
  ["data that is null", client => client.execute("UpdateProperty", null as never)],
  ["a batch that is no list", client => client.batch(7 as never)],
  ["a batch of nothing", client => client.batch([null] as never)],
  ["a batch that is wrong half-way", client => client.batch([create("B"), { command_type: "CreateNode", data: null }] as never)],
  ["properties that are none", client => client.execute("CreateNode", { blueprint_type_id: "task", properties: 7 } as never)],
  ["an unknown type", client => client.execute("Explode" as never, {} as never)],
])("%s is refused and shows nothing", async (_, does) => {
  const client = await join();
  await expect(does(client)).rejects.toMatchObject({ name: "HubError", code: /^INVALID_/ });
  await expectTheNextGoesOn(client);
});

test("a value that the caller changes afterwards is sent as it was", async () => {
  const client = await join();
  const value: Json[] = [1];
  const done = client.execute("CreateNode", { blueprint_type_id: "task", name: "A", properties: { list: value } });
  value.push(value as never);
  const { node_id = "" } = await done;
  expect(client.node(node_id)?.properties).toEqual({ list: [1] });
});

/** P4: what nobody answers is given up, and its sender is told that it may have happened. */
test.each<[string, unknown]>([
  ["no answer", undefined],
  ["null", null],
  ["a text", "ok"],
  ["an object without fields", {}],
  ["a success without a place", { success: true }],
  ["a refusal without an error", { success: false }],
  ["an error without a code", { success: false, error: {} }],
])("%s for ever ends in OUTCOME_UNKNOWN, and the next command goes", async (_, reply) => {
  const client = await join({ answerTimeoutMs: 100, attemptsMax: 3 });
  const { node_id: first = "" } = await client.execute("CreateNode", { blueprint_type_id: "task", name: "A" });
  let id: unknown;
  between.answer = (given, payload) => {
    id ??= payload?.["command_id"];
    return payload?.["command_id"] === id ? reply : given;
  };
  const unknown = client.execute("DeleteNode", { node_id: first });
  const next = client.execute("CreateNode", { blueprint_type_id: "task", name: "next" });
  await expect(unknown).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
  await next;
  const times = between.sent.filter(({ payload }) => payload["command_id"] === id).length;
  expect(times).toBe(3);
  // It did happen, and the graph says so.
  expect(outline(client.graph.roots)).toBe("next");
});

test("OVERLOADED for ever is told after so many attempts", async () => {
  const client = await join({ attemptsMax: 3 });
  let times = 0;
  between.answer = reply => (times++ < 3 ? { success: false, error: { code: "OVERLOADED", message: "full", limit: "storage" } } : reply);
  const refused = client.execute("CreateNode", { blueprint_type_id: "task", name: "A" });
  await expect(refused).rejects.toMatchObject({ code: "OVERLOADED", details: { limit: "storage" } });
  between.answer = reply => reply;
  await client.execute("CreateNode", { blueprint_type_id: "task", name: "next" });
});

/** A limit that no hub has told, such as a proxy's, is known by how the connection ends. */
test.each([
  ["websocket", { context: { code: 1009 } }],
  ["polling", { description: 413 }],
] as const)("a connection that ends because a message was too long refuses that command over %s", async (transport, details) => {
  const client = await join({ transports: [transport] });
  between.answer = () => void between.drop(details);
  const refused = client.execute("CreateNode", { blueprint_type_id: "task", name: "A" });
  const next = client.execute("CreateNode", { blueprint_type_id: "task", name: "next" });
  await expect(refused).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  between.answer = reply => reply;
  await next;
});

/** A hub behind a smaller limit than it tells: the real close of the real transport. */
test.each(["websocket", "polling"] as const)("a hub that cuts a message over %s does not keep the next from going", async transport => {
  const client = await join({ transports: [transport], attemptsMax: 3 });
  // As if the hub had told nothing: an older one does not.
  between.event = (event, data) => event === "session:sync" && delete data["limits"];
  between.drop();
  await untilStatus(client, "catching-up");
  await untilStatus(client, "live");
  expect(client.limits).toBe(undefined);
  const refused = client.batch(LARGE);
  const next = client.execute("CreateNode", { blueprint_type_id: "task", name: "next" });
  await expect(refused).rejects.toMatchObject({ code: /^(LIMIT_EXCEEDED|OUTCOME_UNKNOWN)$/ });
  await next;
  expect(outline(client.graph.roots)).toBe("next");
});

test("an outbox that is full says so, and has room again", async () => {
  const client = await join({ pendingMax: 3 });
  between.drop();
  const done = ["1", "2", "3"].map(name => client.execute("CreateNode", { blueprint_type_id: "task", name }));
  const refused = client.execute("CreateNode", { blueprint_type_id: "task", name: "4" });
  await expect(refused).rejects.toMatchObject({ code: "OUTBOX_FULL", details: { max: 3 } });
  await Promise.all(done);
  await expectTheNextGoesOn(client, "1, 2, 3, next");
});

test("a state of presence that is no JSON or too long throws, and is not said again for ever", async () => {
  const [ann, bob] = [await join({ clientId: "ann" }), await join({ clientId: "bob" })];
  ann.presence.set("here");
  expect(() => ann.presence.set(10n as never)).toThrow(/JSON/);
  expect(() => ann.presence.set(cycle as never)).toThrow(/JSON/);
  expect(() => ann.presence.set("x".repeat(5_000))).toThrow(/presence_state_bytes_max/);
  between.drop();
  await until(bob, () => bob.presence.others[0]?.state === "here");
  await untilStatus(ann, "live");
  await expectTheNextGoesOn(ann);
  // What was fine when it was said and is no more.
  const state: Record<string, unknown> = { fine: true };
  ann.presence.set(state as Json);
  state["fine"] = 10n;
  between.drop();
  await untilStatus(ann, "catching-up");
  await untilStatus(ann, "live");
  await ann.execute("CreateNode", { blueprint_type_id: "task", name: "after" });
});
