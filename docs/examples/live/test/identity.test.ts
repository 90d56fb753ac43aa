import { join } from "node:path";

import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { startHub, type Hub } from "../../../client/test/hub.js";
import { Window } from "./window.js";

let hub: Hub;
let browser: Browser;

beforeAll(async () => {
  hub = await startHub({ TALUS_HUB_SERVER__PAGES_DIR: join(import.meta.dirname, "../dist") });
  browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
});
afterAll(async () => {
  await browser.close();
  await hub.end();
});

const KEY = "talus-client-id";
const nameOf = (page: Page): Promise<string | null> => page.evaluate(key => sessionStorage.getItem(key), KEY);

/** Runs before the scripts of each page: notes what was in storage, and takes away what a browser may lack. */
function prepare({ key, lacks }: { key: string; lacks: string[] }): void {
  Object.assign(globalThis, { found: sessionStorage.getItem(key) });
  if (lacks.includes("locks")) Reflect.deleteProperty(Navigator.prototype, "locks");
  if (lacks.includes("BroadcastChannel")) Reflect.deleteProperty(globalThis, "BroadcastChannel");
}

/** P6: a duplicated tab has a copy of the storage, and is another client all the same: undo is of one's own. */
test.each<[string, string[]]>([
  ["locks", []],
  ["a broadcast channel", ["locks"]],
  ["neither locks nor a channel", ["locks", "BroadcastChannel"]],
])("a duplicated tab has a name of its own, with %s", async (_, lacks) => {
  const session = await hub.session();
  const context = await browser.newContext({ viewport: { width: 1000, height: 620 } });
  await context.addInitScript(prepare, { key: KEY, lacks });
  const first = await Window.of(context, await context.newPage(), `${hub.url}/?session=${session}`, "Ann");
  const name = await nameOf(first.page);
  // A window that a page opens starts with a copy of its storage, as a duplicated tab does.
  const [opened] = await Promise.all([context.waitForEvent("page"), first.page.evaluate(() => void open(location.href))]);
  const second = await Window.of(context, opened, undefined, "Copy of Ann");
  expect(await second.page.evaluate(() => (globalThis as unknown as { found: string }).found)).toBe(name);
  const other = await nameOf(second.page);
  expect(other).not.toBe(name);

  await first.button("Add root").click();
  await second.until("New node");
  await second.button("Add root").click();
  await first.until("New node, New node");
  const ids = async (): Promise<string[]> => (await hub.graph(session)).graph.roots.map(({ id }) => id);
  const [own] = await ids();
  await second.button("Undo mine").click();
  await first.until("New node");
  expect(await ids()).toEqual([own]);
  await second.button("Undo mine").click();
  await second.page.getByRole("alert").filter({ hasText: /nothing/i }).waitFor();
  expect(await ids()).toEqual([own]);

  // A reload keeps the name as far as it can be known that nobody else has it.
  for (const [window, was] of [
    [first, name],
    [second, other],
  ] as const) {
    await window.page.reload();
    await window.status("Live");
    if (lacks.length < 2) expect(await nameOf(window.page)).toBe(was);
    else expect(await nameOf(window.page)).not.toBe(was);
  }
  if (lacks.length < 2) {
    await first.button("Undo mine").click();
    await second.until("");
  }
  await context.close();
});
