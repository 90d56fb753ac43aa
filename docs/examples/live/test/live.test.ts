import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { chromium, type Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { startHub, type Hub } from "../../../client/test/hub.js";
import { wireTo, type Wire } from "../../../client/test/wire.js";
import { Window } from "./window.js";

let hub: Hub;
let wire: Wire;
let browser: Browser;
let session: string;
/** Ann is connected directly, Ben by a wire that can be cut. */
let [ann, ben]: [Window, Window] = [undefined as never, undefined as never];

beforeAll(async () => {
  hub = await startHub({
    TALUS_HUB_SERVER__PAGES_DIR: join(import.meta.dirname, "../dist"),
    TALUS_HUB_REALTIME__RECONNECT_MIN_MS: "50",
    TALUS_HUB_REALTIME__RECONNECT_MAX_MS: "200",
  });
  wire = await wireTo(hub.url);
  browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
});
afterAll(async () => {
  await browser.close();
  wire.close();
  await hub.end();
});

/** Both windows show this, and so does the hub. */
async function bothShow(outline: string): Promise<void> {
  await Promise.all([ann.until(outline), ben.until(outline)]);
  type Nodes = { name: string; children?: Nodes }[];
  const list = (nodes: Nodes): string =>
    nodes.map(({ name, children = [] }) => (children.length ? `${name}(${list(children)})` : name)).join(", ");
  expect(list((await hub.graph(session)).graph.roots)).toBe(outline);
}

test("a project is begun on the first page, and joined by two", async () => {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(hub.url);
  await page.getByLabel("Name").fill("Lighthouse");
  await page.getByLabel("Template").selectOption({ label: "Software Project" });
  await page.getByRole("button", { name: "Begin" }).click();
  await page.waitForURL(/\?session=/);
  session = new URL(page.url()).searchParams.get("session") ?? "";
  await page.close();
  [ann, ben] = await Promise.all([
    Window.open(browser, `${hub.url}/?session=${session}`, "Ann"),
    Window.open(browser, `${wire.url}/?session=${session}`, "Ben"),
  ]);
  await bothShow("Lighthouse");
  await ben.page.waitForFunction(() => document.title === "Lighthouse");
});

test("both edit, and each sees what the other does", async () => {
  await ann.add("Lighthouse", "Release", "1.0");
  await ben.add("Lighthouse", "Release", "2.0");
  await ann.add("1.0", "Task", "Log in");
  await ben.add("1.0", "Bug", "Lamp goes out");
  await bothShow("Lighthouse(1.0(Log in, Lamp goes out), 2.0)");
  await ben.set("Steps to reproduce", "Wait for night.");
  await ann.select("Lamp goes out");
  await ann.page.waitForFunction(() => [...document.querySelectorAll("textarea")].some(field => field.value === "Wait for night."));
});

test("the tree is worked by keyboard", async () => {
  await ann.select("Lamp goes out");
  await ann.page.keyboard.press("Alt+ArrowUp");
  await bothShow("Lighthouse(1.0(Lamp goes out, Log in), 2.0)");
  await ann.page.keyboard.press("ArrowDown");
  await ann.page.keyboard.press("Enter");
  await ann.page.keyboard.type("Log out");
  await ann.page.keyboard.press("Tab");
  await bothShow("Lighthouse(1.0(Lamp goes out, Log in, Log out), 2.0)");
  await ann.select("Log out");
  await ann.page.keyboard.press("Delete");
  await bothShow("Lighthouse(1.0(Lamp goes out, Log in), 2.0)");
  expect(await ann.page.getByRole("treeitem", { selected: true }).locator("> .line > .name").textContent()).toBe("Log in");
});

test("a node is dragged under another", async () => {
  await ben.line("Log in").dragTo(ben.line("2.0"));
  await bothShow("Lighthouse(1.0(Lamp goes out), 2.0(Log in))");
});

test("each undoes their own, and the other's stays", async () => {
  await ann.select("Lamp goes out");
  await ann.set("Name", "Lamp fails");
  await bothShow("Lighthouse(1.0(Lamp fails), 2.0(Log in))");
  await ben.button("Undo mine").click();
  await bothShow("Lighthouse(1.0(Lamp fails, Log in), 2.0)");
  await ann.line("1.0").click();
  await ann.page.keyboard.press("Control+z");
  await bothShow("Lighthouse(1.0(Lamp goes out, Log in), 2.0)");
  await ben.button("Redo mine").click();
  await bothShow("Lighthouse(1.0(Lamp goes out), 2.0(Log in))");
});

test("an undo that would take away what the other did asks first", async () => {
  await ann.select("Log in");
  await ann.set("Name", "Sign in");
  await bothShow("Lighthouse(1.0(Lamp goes out), 2.0(Sign in))");
  await ben.select("Sign in");
  await ben.set("Name", "Enter");
  await bothShow("Lighthouse(1.0(Lamp goes out), 2.0(Enter))");
  await ann.button("Undo mine").click();
  const dialog = ann.page.getByRole("dialog");
  await dialog.getByText("Ben has changed this since").waitFor();
  await dialog.getByRole("button", { name: "Do it anyway" }).click();
  await bothShow("Lighthouse(1.0(Lamp goes out), 2.0(Log in))");
});

test("who is here, and what they have selected", async () => {
  await ann.select("2.0");
  await ben.select("Lamp goes out");
  await ben.page.getByRole("list", { name: "Who else is here" }).getByText("Ann").waitFor();
  await ben.line("2.0").locator(".badge[title=Ann]").waitFor();
  await ann.line("Lamp goes out").locator(".badge[title=Ben]").waitFor();
  await ann.select("Log in");
  await ben.line("Log in").locator(".badge[title=Ann]").waitFor();
  expect(await ben.page.locator(".tree .badge").count()).toBe(1);
});

test("what is refused is taken back and said", async () => {
  await ann.select("Log in");
  await ann.set("Name", " ");
  await ann.page.getByRole("alert").filter({ hasText: /name/ }).waitFor();
  await bothShow("Lighthouse(1.0(Lamp goes out), 2.0(Log in))");
});

test("a window without a network shows its own changes, and both are the same when it is back", async () => {
  const shown = await ben.watchStatus();
  wire.cut();
  await ben.status("Reconnecting");
  await ann.add("1.0", "Task", "Ann's");
  await ben.add("1.0", "Task", "Ben's");
  expect(await ben.outline()).toBe("Lighthouse(1.0(Lamp goes out, Ben's), 2.0(Log in))");
  wire.release();
  await ben.status("Live");
  await bothShow("Lighthouse(1.0(Lamp goes out, Ann's, Ben's), 2.0(Log in))");
  expect(await shown()).toEqual(["Reconnecting…", "Catching up…", "Live"]);
  // What it said of itself, it has said again.
  await ann.page.locator(".tree .badge[title=Ben]").waitFor();
});

test("a machine without a network says so at once, and is back as soon as there is one", async () => {
  const shown = await ben.watchStatus();
  await ben.context.setOffline(true);
  await ben.status("Offline");
  await ann.select("Ann's");
  await ann.set("Name", "Paint");
  await ben.select("Ben's");
  await ben.set("Name", "Sweep");
  await ben.context.setOffline(false);
  await bothShow("Lighthouse(1.0(Lamp goes out, Paint, Sweep), 2.0(Log in))");
  await ben.status("Live");
  expect([(await shown())[0], (await shown()).at(-1)]).toEqual(["Offline", "Live"]);
});

test("a session's actor that dies is noticed by nobody", async () => {
  const shown = await Promise.all([ann.watchStatus(), ben.watchStatus()]);
  for (const kind of ["panic_decide", "append_unknown"]) {
    await hub.operate(`/sessions/${session}/fault`, { kind });
    await ann.add("2.0", "Task", kind);
    await ben.line(kind).waitFor();
  }
  await hub.operate(`/sessions/${session}/restart`);
  await ben.add("2.0", "Task", "after");
  await bothShow("Lighthouse(1.0(Lamp goes out, Paint, Sweep), 2.0(Log in, panic_decide, append_unknown, after))");
  expect(await Promise.all(shown.map(each => each()))).toEqual([[], []]);
});

test("a reload keeps whose undo it is", async () => {
  await ben.page.reload();
  await ben.status("Live");
  await ben.button("Undo mine").click();
  await bothShow("Lighthouse(1.0(Lamp goes out, Paint, Sweep), 2.0(Log in, panic_decide, append_unknown, New Task))");
  await ben.button("Undo mine").click();
  await bothShow("Lighthouse(1.0(Lamp goes out, Paint, Sweep), 2.0(Log in, panic_decide, append_unknown))");
});

test("how long it takes from one window to the other", async () => {
  const rounds = 40;
  await ben.page.evaluate(() => {
    const seen: Record<string, number> = {};
    Object.assign(globalThis, { seen });
    const tree = document.querySelector("[role=tree]");
    new MutationObserver(() => {
      for (const { textContent } of document.querySelectorAll(".name")) seen[textContent ?? ""] ??= performance.timeOrigin + performance.now();
    }).observe(tree as Node, { childList: true, subtree: true, characterData: true });
  });
  await ann.select("Log in");
  const took: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const name = `Log in ${round}`;
    const sent = await ann.page.evaluate(name => {
      const field = document.querySelector<HTMLInputElement>(".details input");
      const now = performance.timeOrigin + performance.now();
      if (field) field.value = name;
      field?.dispatchEvent(new Event("change"));
      return now;
    }, name);
    await ben.page.waitForFunction(name => name in (globalThis as unknown as { seen: Record<string, number> }).seen, name);
    took.push((await ben.page.evaluate(name => (globalThis as unknown as { seen: Record<string, number> }).seen[name] ?? 0, name)) - sent);
  }
  took.sort((a, b) => a - b);
  console.log(`from one browser to the other: p50 ${took[rounds / 2]?.toFixed(1)} ms, p95 ${took[Math.floor(rounds * 0.95)]?.toFixed(1)} ms`);
  await ann.button("Undo mine").click();
});

test("nothing complained", () => {
  expect([...ann.complaints, ...ben.complaints]).toEqual([]);
});

/** Only if it is asked for: two pictures of the same are never the same bytes. */
test("the picture of the documentation", async () => {
  const { UPDATE_SCREENSHOT, HUB_SOURCE = "" } = process.env;
  if (!UPDATE_SCREENSHOT) return;
  session = await hub.project("software_project", "Harbour");
  const [root] = (await hub.graph(session)).graph.roots;
  const add = async (parent_id: unknown, blueprint_type_id: string, name: string): Promise<unknown> =>
    (await hub.execute(session, "CreateNode", { parent_id, blueprint_type_id, name }))["node_id"];
  const first = await add(root?.id, "release", "1.0 First light");
  await add(first, "milestone", "The lamp turns");
  await add(first, "task", "Wire the lamp");
  await add(first, "bug", "It goes out in rain");
  const second = await add(root?.id, "release", "2.0 Fog horn");
  await add(second, "task", "Find a horn");
  await add(second, "task", "Ask the neighbours");
  const url = `${hub.url}/?session=${session}`;
  const windows = [await Window.open(browser, url, "Ann"), await Window.open(browser, url, "Ben")];
  const [left, right] = windows as [Window, Window];
  for (const { page } of windows) await page.setViewportSize({ width: 820, height: 520 });
  await left.select("It goes out in rain");
  await right.select("Find a horn");
  await left.line("Find a horn").locator(".badge[title=Ben]").waitFor();
  await right.line("It goes out in rain").locator(".badge[title=Ann]").waitFor();
  const pictures = await Promise.all(windows.map(({ page }) => page.screenshot()));
  const both = await browser.newPage({ viewport: { width: 1720, height: 580 } });
  const images = pictures.map(picture => `<img src="data:image/png;base64,${picture.toString("base64")}">`).join("");
  const style = "body{margin:0;padding:30px 20px;display:flex;gap:40px;background:#8b97ab}img{border-radius:10px;box-shadow:0 6px 24px #0006}";
  await both.setContent(`<style>${style}</style>${images}`);
  mkdirSync(join(HUB_SOURCE, "docs/images"), { recursive: true });
  writeFileSync(join(HUB_SOURCE, "docs/images/live.png"), await both.screenshot());
});
