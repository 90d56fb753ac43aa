import { createServer, request } from "node:http";
import { connect as dial, type AddressInfo } from "node:net";

import { afterAll, beforeAll, expect, test } from "vitest";

import { addressOf } from "../src/address.js";
import { connect } from "../src/index.js";
import { startHub, type Hub } from "./hub.js";

test.each([
  ["http://h:5000", "http://h:5000", ""],
  ["http://h:5000/", "http://h:5000", ""],
  ["http://h:5000//", "http://h:5000", ""],
  ["https://h.example/hub", "https://h.example", "/hub"],
  ["https://h.example/a/hub/", "https://h.example", "/a/hub"],
  ["HTTP://H:80/", "http://h", ""],
  ["http://[::1]:5000/", "http://[::1]:5000", ""],
  ["ws://h:5000/hub", "http://h:5000", "/hub"],
  ["wss://h", "https://h", ""],
])("the url %s is read", (url, origin, path) => {
  expect(addressOf(url)).toEqual({ origin, path });
});

/** Nonsense is an error where it is written, and not a status that never changes. */
test.each([
  ["", /is none/],
  ["nonsense", /is none/],
  ["/hub", /is none/],
  ["//h/hub", /is none/],
  ["http://", /is none/],
  ["http://h:99999", /is none/],
  ["h:5000", /has the scheme h:/],
  ["localhost:5000", /has the scheme localhost:/],
  ["file:///tmp/hub", /has the scheme file:/],
  ["javascript:alert(1)", /has the scheme javascript:/],
  ["http://ann:secret@h", /has credentials/],
  ["http://h/?session=1", /has a query/],
  ["http://h/?", /has a query/],
  ["http://h/#top", /has a query or a fragment/],
])("the url %j is refused by connect", (url, why) => {
  const refused = (): unknown => connect({ url, sessionId: "s" });
  expect(refused).toThrow(TypeError);
  expect(refused).toThrow(why);
});

test("in a page, an address may be left out or be a path", () => {
  Object.assign(globalThis, { location: { origin: "https://page.example" } });
  try {
    expect(addressOf()).toEqual({ origin: "https://page.example", path: "" });
    expect(addressOf("/hub/")).toEqual({ origin: "https://page.example", path: "/hub" });
    expect(() => addressOf("//other.example")).toThrow(/is none/);
    expect(() => addressOf("hub")).toThrow(/is none/);
  } finally {
    Reflect.deleteProperty(globalThis, "location");
  }
});

let hub: Hub;
beforeAll(async () => {
  hub = await startHub({ TALUS_HUB_SERVER__BODY_BYTES_MAX: "4000000" });
});
afterAll(() => hub.end());

test.each([
  ["websocket", "/"],
  ["polling", "/"],
  ["websocket", "/hub"],
  ["polling", "/hub/"],
] as const)("over %s, a hub at %s is reached, with its socket and its API", async (transport, path) => {
  // A proxy that takes the path away, as reverse proxies are told to.
  const { port } = new URL(hub.url);
  const prefix = path.replace(/\/$/, "");
  const inner = (url = ""): string => (url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : "/nothing");
  const proxy = createServer((asked, answer) => {
    const { method, headers } = asked;
    const onward = request({ port, host: "127.0.0.1", path: inner(asked.url), method, headers }, response => {
      answer.writeHead(response.statusCode ?? 500, response.headers);
      response.pipe(answer);
    });
    asked.pipe(onward).on("error", () => answer.destroy());
  });
  proxy.on("upgrade", (asked, socket) => {
    const onward = dial(Number(port), "127.0.0.1");
    const headers = Object.entries(asked.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`);
    onward.write(`GET ${inner(asked.url)} HTTP/1.1\r\n${headers.join("")}\r\n`);
    onward.pipe(socket).pipe(onward);
    onward.on("error", () => socket.destroy());
    socket.on("error", () => onward.destroy());
  });
  await new Promise<void>(listening => proxy.listen(0, "127.0.0.1", listening));
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}${path}`;
  const client = connect({ url, sessionId: await hub.session(), transports: [transport] });
  await client.ready();
  await client.execute("CreateNode", { blueprint_type_id: "task", name: "A" });
  const large = Array.from({ length: 900 }, () => ({
    command_type: "CreateNode" as const,
    data: { blueprint_type_id: "task", properties: { text: "x".repeat(1_400) } },
  }));
  expect((await client.batch(large)).node_ids?.length).toBe(900);
  client.close();
  proxy.closeAllConnections();
  proxy.close();
});
