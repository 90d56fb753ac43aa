import { chromium, type Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { startHub, type Hub } from "../../../client/test/hub.js";

let hub: Hub;
let browser: Browser;

beforeAll(async () => {
  hub = await startHub({ TALUS_HUB_SERVER__HOSTS: "own.example" });
  browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      // What newer browsers ask people about before a page may reach their machine; others do not.
      "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
      // Both names lead to this machine, as one does whose owner has rebound it.
      "--host-resolver-rules=MAP *.example 127.0.0.1",
    ],
  });
});
afterAll(async () => {
  await browser.close();
  await hub.end();
});

interface Attempt {
  method: string;
  path: string;
}

/**
 * What a page gets that was loaded from a name and a port of its own, when the name leads to the hub: the statuses of its
 * requests, and whether a websocket opens. For the browser all of it is of the page's own origin.
 */
async function asPageOf(name: string, listener: string, attempts: Attempt[]): Promise<{ statuses: number[]; opens: boolean }> {
  const origin = `http://${name}:${new URL(listener).port}`;
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.route(`${origin}/page`, route => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
  await page.goto(`${origin}/page`);
  const got = await page.evaluate(async attempts => {
    const statuses: number[] = [];
    for (const { method, path } of attempts) {
      const answer = await fetch(path, { method });
      await answer.text();
      statuses.push(answer.status);
    }
    const opens = await new Promise<boolean>(settled => {
      const socket = new WebSocket(`ws://${location.host}/socket.io/?EIO=4&transport=websocket`);
      socket.onopen = () => settled(true);
      socket.onerror = () => settled(false);
    });
    return { statuses, opens };
  }, attempts);
  await context.close();
  return got;
}

test("rebound_page_reads_and_changes_nothing", async () => {
  const session = await hub.session();
  const clients = [
    { method: "GET", path: `/api/v1/sessions/${session}/graph` },
    { method: "POST", path: "/api/v1/sessions" },
    { method: "GET", path: "/socket.io/?EIO=4&transport=polling" },
    { method: "DELETE", path: `/api/v1/sessions/${session}` },
  ];
  const operators = [
    { method: "GET", path: "/ops/actors" },
    { method: "POST", path: "/ops/drain" },
  ];
  const refused = await asPageOf("rebound.example", hub.url, clients);
  expect(refused).toEqual({ statuses: [421, 421, 421, 421], opens: false });
  const away = await asPageOf("rebound.example", hub.ops, operators);
  expect(away).toEqual({ statuses: [421, 421], opens: false });
  // The hub is as it was, and the same page of a name that the hub has gets through: it is the name that is refused.
  expect((await hub.graph(session)).seq).toBe(0);
  const own = await asPageOf("own.example", hub.url, clients);
  expect(own).toEqual({ statuses: [200, 201, 200, 204], opens: true });
  const operated = await asPageOf("own.example", hub.ops, operators);
  expect(operated).toEqual({ statuses: [200, 202], opens: false });
});
