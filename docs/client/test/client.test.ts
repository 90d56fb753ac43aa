import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { connect, type Change, type Client, type ConnectOptions, type HubEvent } from "../src/index.js";
import { startHub, type Hub } from "./hub.js";
import { tap, type Tap } from "./tap.js";
import { outline, until, untilStatus } from "./waiting.js";
import { wireTo, type Wire } from "./wire.js";

let hub: Hub;
let wire: Wire;
let session: string;
let between: Tap;
const clients: Client[] = [];

/** Ticks come soon, so that what they are for need not be waited for. */
const SOON = { TALUS_HUB_REALTIME__TICK_INTERVAL_MS: "50", TALUS_HUB_REALTIME__RECONNECT_MIN_MS: "20", TALUS_HUB_REALTIME__RECONNECT_MAX_MS: "100" };

beforeAll(async () => {
  hub = await startHub(SOON);
  wire = await wireTo(hub.url);
});
afterAll(async () => {
  wire.close();
  await hub.end();
});
beforeEach(async () => {
  session = await hub.session();
  between = tap();
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  between.remove();
  wire.release();
});

async function join(more: Partial<ConnectOptions> = {}): Promise<Client> {
  const client = connect({ url: wire.url, sessionId: session, ...more });
  clients.push(client);
  await client.ready();
  return client;
}

const create = (name: string, more: { node_id?: string; parent_id?: string } = {}): { blueprint_type_id: string; name: string } => ({
  blueprint_type_id: "task",
  name,
  ...more,
});

/** Whether the client has the graph of the hub, proven by its hash, and nothing that is not confirmed. */
async function expectTheGraphOfTheHub(client: Client): Promise<void> {
  const { graph, seq } = await hub.graph(session);
  await until(client, () => client.position?.seq === seq);
  expect(client.graph.roots).toEqual(graph.roots);
  expect(client.pending).toBe(0);
}

describe.each([
  ["websocket", "single"],
  ["polling", "single"],
  ["websocket", "batched"],
  ["polling", "batched"],
] as const)("over %s, events %s", (transport, frames) => {
  test("what one does the other sees, in order, told in one go for each command", async () => {
    const how = { transports: [transport], frames };
    const [ann, bob] = [await join(how), await join(how)];
    const changes: Change[] = [];
    bob.onChange(change => changes.push(change));
    const { node_id: root = "" } = await ann.execute("CreateNode", create("Root"));
    // What comes at one time is told at one time, so the next command waits until this one was told.
    await until(bob, () => changes.length === 1);
    await ann.batch([
      { command_type: "CreateNode", data: create("A", { parent_id: root }) },
      { command_type: "CreateNode", data: create("B", { parent_id: root }) },
      { command_type: "UpdateProperty", data: { node_id: root, property_id: "name", new_value: "Top" } },
    ]);
    expect(outline(ann.graph.roots)).toBe("Top(A, B)");
    await until(bob, () => bob.position?.seq === ann.position?.seq);
    expect(outline(bob.graph.roots)).toBe("Top(A, B)");
    const [a = "", b = ""] = bob.node(root)?.children.map(child => child.id) ?? [];
    await until(bob, () => changes.length === 2);
    expect(changes).toEqual([
      { reset: false, roots: true, created: [root], changed: [], deleted: [] },
      { reset: false, roots: false, created: [a, b], changed: [root], deleted: [] },
    ]);
    await ann.execute("DeleteNode", { node_id: root });
    await until(bob, () => bob.graph.roots.length === 0);
    expect([bob.node(root), bob.node(a)]).toEqual([undefined, undefined]);
    await expectTheGraphOfTheHub(ann);
    await expectTheGraphOfTheHub(bob);
  });

  test("a dropped connection is resumed with what was missed, and status says how it stands", async () => {
    const client = await join({ transports: [transport], frames });
    const reasons: string[] = [];
    client.onEvent(({ event, data }) => event === "session:sync" && reasons.push(data.reason));
    await client.execute("CreateNode", create("before"));
    wire.cut();
    expect(await untilStatus(client, "stale")).toEqual(["live", "stale"]);
    await hub.execute(session, "CreateNode", create("meanwhile"));
    wire.release();
    expect(await untilStatus(client, "live")).toEqual(["stale", "catching-up", "live"]);
    expect(outline(client.graph.roots)).toBe("before, meanwhile");
    expect(reasons).toEqual(["resumed"]);
    await expectTheGraphOfTheHub(client);
  });

  test("the engine closing is a drop like any other", async () => {
    const client = await join({ transports: [transport], frames });
    const back = untilStatus(client, "catching-up");
    between.drop();
    await back;
    await client.execute("CreateNode", create("after"));
    await expectTheGraphOfTheHub(client);
  });
});

test("events that come in a batch are told and applied one by one", async () => {
  const client = await join({ frames: "batched" });
  const [packets, told]: [string[], string[]] = [[], []];
  between.lose = event => {
    packets.push(event);
    return false;
  };
  client.onEvent(({ event }) => told.push(event));
  await hub.execute(session, "CreateNode", create("A"));
  await expectTheGraphOfTheHub(client);
  const ofCommands = (names: string[]): string[] => names.filter(name => name !== "session:tick");
  expect(ofCommands(packets)).toEqual(["session:events"]);
  expect(ofCommands(told)).toEqual(["command:executing", "graph:node-created", "command:executed"]);
});

test("every type of command is foreseen as the hub does it", async () => {
  const client = await join();
  const ids = Array.from({ length: 6 }, () => crypto.randomUUID());
  const [a = "", b = "", c = "", d = "", e = "", f = ""] = ids;
  const commands: Parameters<Client["batch"]>[0] = [
    { command_type: "CreateNode", data: create("A", { node_id: a }) },
    { command_type: "CreateNode", data: create("B", { node_id: b, parent_id: a }) },
    { command_type: "CreateNode", data: { ...create("C", { node_id: c, parent_id: a }), index: 0, properties: { x: [1, { y: null }] } } },
    { command_type: "CreateNode", data: { blueprint_type_id: "task", node_id: d } },
    { command_type: "MoveNode", data: { node_id: d, new_parent_id: b, index: 0 } },
    { command_type: "CreateNode", data: create("E", { node_id: e, parent_id: b }) },
    { command_type: "ReorderNode", data: { node_id: e, new_index: 0 } },
    { command_type: "UnlinkNode", data: { parent_id: a, child_id: c } },
    { command_type: "LinkNode", data: { parent_id: d, child_id: c } },
    { command_type: "UpdateProperty", data: { node_id: a, property_id: "name", new_value: "Alpha" } },
    { command_type: "UpdateProperty", data: { node_id: a, property_id: "cost", new_value: 1.5 } },
    { command_type: "DeleteProperty", data: { node_id: c, property_id: "x" } },
    { command_type: "CreateNode", data: create("F", { node_id: f }) },
    { command_type: "MoveNode", data: { node_id: b, new_parent_id: null, index: 0 } },
    { command_type: "DeleteNode", data: { node_id: f } },
  ];
  for (const { command_type, data } of commands) {
    const done = client.execute(command_type, data);
    const foreseen = structuredClone(client.graph.roots);
    expect(client.pending).toBe(1);
    await done;
    expect(client.graph.roots).toEqual(foreseen);
  }
  await expectTheGraphOfTheHub(client);
  // The same in one batch, elsewhere.
  session = await hub.session();
  const other = await join();
  const done = other.batch(commands);
  const foreseen = structuredClone(other.graph.roots);
  await done;
  expect(other.graph.roots).toEqual(foreseen);
  await expectTheGraphOfTheHub(other);
});

test("a command shows at once, below it what others do meanwhile, and not twice when it is confirmed", async () => {
  const client = await join({ clientId: "ann" });
  await client.execute("CreateNode", create("first"));
  const shown: string[] = [];
  client.onChange(() => shown.push(outline(client.graph.roots)));
  // The answer is held back; what another has sent before is told in between.
  await hub.operate(`/sessions/${session}/fault`, { kind: "append_delay_ms", ms: 300 });
  const others = hub.execute(session, "CreateNode", create("theirs"));
  const own = client.execute("CreateNode", create("mine"));
  expect(outline(client.graph.roots)).toBe("first, mine");
  await Promise.all([own, others]);
  await expectTheGraphOfTheHub(client);
  expect(shown[0]).toBe("first, mine");
  expect(new Set(shown.map(text => text.split("mine").length))).toEqual(new Set([2]));
});

test("a refused command is taken back, and the error says why; those after it stand", async () => {
  const client = await join();
  const { node_id: root = "" } = await client.execute("CreateNode", create("Root"));
  const refused = client.execute("UpdateProperty", { node_id: root, property_id: "name", new_value: "" });
  const accepted = client.execute("CreateNode", create("next"));
  expect(outline(client.graph.roots)).toBe(", next");
  await expect(refused).rejects.toMatchObject({ name: "HubError", code: "INVALID_VALUE" });
  expect(client.node(root)?.name).toBe("Root");
  await accepted;
  await expect(client.execute("DeleteNode", { node_id: crypto.randomUUID() })).rejects.toMatchObject({
    code: "NODE_NOT_FOUND",
    details: { node_id: expect.any(String) as string },
  });
  await expect(client.execute("DeleteNode", { node_id: root }, { expectedSeq: 0 })).rejects.toMatchObject({ code: "CONFLICT" });
  expect(outline(client.graph.roots)).toBe("Root, next");
  await expectTheGraphOfTheHub(client);
});

test("what is not to be foreseen is not", async () => {
  const client = await join();
  const done = client.execute("CreateNode", create("A"), { optimistic: false });
  expect(client.graph.roots).toEqual([]);
  await done;
  expect(outline(client.graph.roots)).toBe("A");
});

test("commands while offline wait, are shown, and are sent in order when the connection is back", async () => {
  const client = await join();
  wire.cut();
  await untilStatus(client, "stale");
  const done = ["1", "2", "3"].map(name => client.execute("CreateNode", create(name)));
  expect([outline(client.graph.roots), client.pending]).toEqual(["1, 2, 3", 3]);
  await hub.execute(session, "CreateNode", create("0"));
  wire.release();
  const seqs = (await Promise.all(done)).map(({ seq }) => seq);
  expect(seqs).toEqual([4, 6, 8]);
  expect(outline(client.graph.roots)).toBe("0, 1, 2, 3");
  await expectTheGraphOfTheHub(client);
});

/** The ids of the commands that were sent, in order. */
const sentIds = (): unknown[] => between.sent.filter(({ event }) => event.startsWith("command:")).map(({ payload }) => payload["command_id"]);

test("a lost answer is asked for again with the same id, and the command happens once", async () => {
  const client = await join({ answerTimeoutMs: 100 });
  let lost = 0;
  between.answer = reply => (lost++ < 2 ? undefined : reply);
  const [first, second] = await Promise.all([client.execute("CreateNode", create("A")), client.execute("CreateNode", create("B"))]);
  expect(first).toMatchObject({ success: true, seq: 2, duplicate: true });
  const ids = sentIds();
  expect(ids.length).toBeGreaterThanOrEqual(4);
  // Nothing overtakes: the second is not sent before the first has its answer, however often each is sent.
  expect(ids.filter((id, at) => id !== ids[at - 1])).toEqual([first.command_id, second.command_id]);
  expect(outline(client.graph.roots)).toBe("A, B");
  await expectTheGraphOfTheHub(client);
});

test("a connection that breaks between command and answer loses nothing and doubles nothing", async () => {
  const client = await join();
  for (let round = 0; round < 5; round++) {
    // The command is on its way, the answer is not back.
    const done = client.execute("CreateNode", create(`${round}`));
    between.answer = () => void between.drop();
    await untilStatus(client, "stale");
    between.answer = reply => reply;
    await done;
  }
  expect(outline(client.graph.roots)).toBe("0, 1, 2, 3, 4");
  await expectTheGraphOfTheHub(client);
});

test.each(["OVERLOADED", "OUTCOME_UNKNOWN", "DRAINING"])("%s is answered by trying again with the same id", async code => {
  const client = await join();
  let times = 0;
  between.answer = reply => (times++ < 3 ? { success: false, error: { code, message: "" } } : reply);
  const { command_id } = await client.execute("CreateNode", create("A"));
  expect(sentIds()).toEqual(Array.from({ length: 4 }, () => command_id));
  expect(outline(client.graph.roots)).toBe("A");
  await expectTheGraphOfTheHub(client);
});

test.each(["panic_decide", "panic_apply", "append_error", "append_unknown"])("nobody notices %s in the session's actor", async kind => {
  const client = await join();
  const statuses: string[] = [];
  client.onStatus(status => statuses.push(status));
  await client.execute("CreateNode", create("A"));
  await hub.operate(`/sessions/${session}/fault`, { kind });
  await Promise.all(["B", "C", "D"].map(name => client.execute("CreateNode", create(name))));
  expect(outline(client.graph.roots)).toBe("A, B, C, D");
  expect(statuses).toEqual([]);
  await expectTheGraphOfTheHub(client);
});

test("a room that fails is replaced, and the client catches up by itself", async () => {
  const client = await join();
  await hub.operate(`/sessions/${session}/fault`, { kind: "panic_broadcast" });
  await client.execute("CreateNode", create("A"));
  await client.execute("CreateNode", create("B"));
  expect(outline(client.graph.roots)).toBe("A, B");
  await expectTheGraphOfTheHub(client);
});

test.each(["graph:node-created", "command:executed"])("a lost %s is a gap, and is asked for", async name => {
  const client = await join();
  const seen: HubEvent[] = [];
  client.onEvent(event => seen.push(event));
  let lost = 0;
  between.lose = event => event === name && lost++ === 0;
  await hub.execute(session, "CreateNode", create("A"));
  await hub.execute(session, "CreateNode", create("B"));
  await until(client, () => outline(client.graph.roots) === "A, B");
  expect(between.sent).toContainEqual({ event: "session:resync", payload: { epoch: client.position?.epoch, seq: 0 } });
  await untilStatus(client, "live");
  await expectTheGraphOfTheHub(client);
  // Each event was told once, in order.
  const seqs = seen.flatMap(({ event, data }) => (!event.startsWith("session:") && "seq" in data ? [data.seq] : []));
  expect(seqs).toEqual([1, 2, 3, 4]);
});

test("a lost last event is found out by the tick", async () => {
  const client = await join();
  let losing = true;
  between.lose = event => losing && !event.startsWith("session:");
  await hub.execute(session, "CreateNode", create("A"));
  await until(client, () => client.status === "catching-up" || client.position?.seq === 2);
  losing = false;
  await until(client, () => client.position?.seq === 2);
  expect(outline(client.graph.roots)).toBe("A");
});

test("a replica that has gone wrong finds out by the hash and gets the graph", async () => {
  const client = await join();
  const { node_id: root = "" } = await client.execute("CreateNode", create("Root"));
  const resets: Change[] = [];
  client.onChange(change => change.reset && resets.push(change));
  const syncs: string[] = [];
  client.onEvent(({ event, data }) => event === "session:sync" && syncs.push(data.reason));
  (client.node(root) as { name: string }).name = "wrong";
  await hub.execute(session, "CreateNode", create("A"));
  await until(client, () => resets.length > 0);
  expect(syncs).toEqual(["divergence"]);
  expect(outline(client.graph.roots)).toBe("Root, A");
  await expectTheGraphOfTheHub(client);
});

test("undo is of one's own, over what others did since, and a name that is kept keeps it over a reload", async () => {
  const ann = await join({ clientId: "ann" });
  const bob = await join({ clientId: "bob" });
  await ann.execute("CreateNode", create("ann's"));
  await bob.execute("CreateNode", create("bob's"));
  await until(ann, () => ann.graph.roots.length === 2);
  ann.close();
  const again = await join({ clientId: "ann" });
  expect(again.clientId).toBe("ann");
  await again.undo();
  expect(outline(again.graph.roots)).toBe("bob's");
  await again.redo();
  expect(outline(again.graph.roots)).toBe("ann's, bob's");
  await expect(again.redo()).rejects.toMatchObject({ code: "NOTHING_TO_REDO" });
  await again.undo({ scope: "session" });
  expect(outline(again.graph.roots)).toBe("ann's");
});

test("an undo that would take away what another did is refused with who it was, unless it is forced", async () => {
  const ann = await join({ clientId: "ann" });
  const bob = await join({ clientId: "bob" });
  const { node_id = "" } = await ann.execute("CreateNode", create("A"));
  await ann.execute("UpdateProperty", { node_id, property_id: "color", new_value: "red" });
  await until(bob, () => bob.node(node_id)?.properties["color"] === "red");
  await bob.execute("UpdateProperty", { node_id, property_id: "color", new_value: "blue" });
  await expect(ann.undo()).rejects.toMatchObject({ code: "UNDO_CONFLICT", details: { blocked_by: { client_id: "bob" } } });
  await ann.undo({ force: true });
  expect(ann.node(node_id)?.properties).toEqual({});
});

test("a name that the hub gave is kept over a reconnect", async () => {
  const client = await join();
  const { clientId } = client;
  await client.execute("CreateNode", create("A"));
  between.drop();
  await untilStatus(client, "stale");
  await untilStatus(client, "live");
  expect(client.clientId).toBe(clientId);
  await client.undo();
  expect(client.graph.roots).toEqual([]);
});

describe("presence", () => {
  const states = (client: Client): unknown[] => client.presence.others.map(({ client_id, state }) => [client_id, state]);

  test("each sees what the others say of themselves, and not itself", async () => {
    const [ann, bob] = [await join({ clientId: "ann" }), await join({ clientId: "bob" })];
    ann.presence.set({ node_id: "a" });
    await until(bob, () => states(bob).length > 0 && bob.presence.others[0]?.state !== null);
    expect(states(bob)).toEqual([["ann", { node_id: "a" }]]);
    bob.presence.set("here");
    ann.presence.set({ node_id: "b" });
    await until(ann, () => ann.presence.others[0]?.state === "here");
    await until(bob, () => JSON.stringify(states(bob)) === '[["ann",{"node_id":"b"}]]');
    ann.close();
    await until(bob, () => states(bob).length === 0);
  });

  test("what a client said is said again when it comes back, and a latecomer hears it", async () => {
    const [ann, bob] = [await join({ clientId: "ann" }), await join({ clientId: "bob", url: hub.url })];
    ann.presence.set("before");
    await until(bob, () => bob.presence.others[0]?.state === "before");
    wire.cut();
    await until(bob, () => states(bob).length === 0);
    // Said while there is no connection, it is what counts then.
    await untilStatus(ann, "stale");
    ann.presence.set("meanwhile");
    wire.release();
    await until(bob, () => bob.presence.others[0]?.state === "meanwhile");
    const late = await join({ clientId: "late" });
    await until(late, () => states(late).length === 2);
    expect(new Map(states(late) as [string, unknown][]).get("ann")).toBe("meanwhile");
  });
});

test("a client that is not let in says why and stays away", async () => {
  const nowhere = connect({ url: wire.url, sessionId: crypto.randomUUID() });
  const done = nowhere.execute("CreateNode", create("A"));
  await expect(nowhere.ready()).rejects.toMatchObject({ code: "INVALID_SESSION" });
  await expect(done).rejects.toMatchObject({ code: "INVALID_SESSION" });
  expect([nowhere.status, nowhere.graph.roots]).toEqual(["offline", []]);
  await expect(nowhere.undo()).rejects.toBe(nowhere.error);
});

test("a session that is deleted is the end", async () => {
  const client = await join();
  await fetch(`${hub.url}/api/v1/sessions/${session}`, { method: "DELETE" });
  await untilStatus(client, "offline");
  expect(client.error?.code).toBe("INVALID_SESSION");
});

test("closing rejects what has no answer", async () => {
  const client = await join();
  wire.cut();
  await untilStatus(client, "stale");
  const done = client.execute("CreateNode", create("A"));
  client.close();
  await expect(done).rejects.toMatchObject({ code: "CLOSED" });
  expect([client.status, client.graph.roots]).toEqual(["offline", []]);
});

test("a listener that throws stops nobody", async () => {
  const client = await join();
  const thrown: unknown[] = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException").once("uncaughtException", error => thrown.push(error));
  const stop = client.onChange(() => {
    throw new Error("of the page");
  });
  let told = 0;
  client.onChange(() => told++);
  await client.execute("CreateNode", create("A"));
  stop();
  await client.execute("CreateNode", create("B"));
  await until(client, () => told >= 2);
  expect(String(thrown)).toContain("of the page");
  for (const listener of listeners) process.on("uncaughtException", listener);
});

test("a hub that drains is left, and come back to after the delay that it named", async () => {
  const [reconnect, spread] = [700, 900];
  const settings = { ...SOON, TALUS_HUB_REALTIME__RECONNECT_MIN_MS: `${reconnect}`, TALUS_HUB_REALTIME__RECONNECT_MAX_MS: `${spread}` };
  const first = await startHub(settings);
  const own = await wireTo(first.url);
  session = await first.session();
  const client = connect({ url: own.url, sessionId: session });
  clients.push(client);
  await client.ready();
  await client.execute("CreateNode", create("A"));
  let named = 0;
  client.onEvent(({ event, data }) => event === "session:draining" && (named = data.reconnect_in_ms));
  let left = 0;
  client.onStatus(status => status === "stale" && (left ||= performance.now()));
  const stopping = first.stop();
  await untilStatus(client, "stale");
  expect(named).toBeGreaterThanOrEqual(reconnect);
  const done = client.execute("CreateNode", create("B"));
  await stopping;
  const second = await startHub(settings, first.data);
  own.lead(second.url);
  await done;
  expect(performance.now() - left).toBeGreaterThanOrEqual(named - 1);
  expect(outline(client.graph.roots)).toBe("A, B");
  expect(client.position?.seq).toBe((await second.graph(session)).seq);
  client.close();
  own.close();
  await second.end();
});
