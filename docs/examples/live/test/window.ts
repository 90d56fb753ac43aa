import type { Browser, BrowserContext, Locator, Page } from "playwright-core";

/** Far more than anything takes: the machine may be busy with something else. */
const DEADLINE_MS = 60_000;

/** A window of the live example, as somebody sits in front of it. */
export class Window {
  /** What the page complained about. */
  readonly complaints: string[] = [];
  readonly page: Page;
  readonly context: BrowserContext;

  private constructor(context: BrowserContext, page: Page) {
    this.context = context;
    this.page = page;
    page.on("pageerror", error => this.complaints.push(String(error)));
    page.on("console", message => {
      // That requests fail while there is no network is what is being tried.
      if (message.type() === "error" && !/Failed to load resource|WebSocket connection/.test(message.text())) {
        this.complaints.push(message.text());
      }
    });
  }

  static async open(browser: Browser, url: string, name: string): Promise<Window> {
    const context = await browser.newContext({ viewport: { width: 1000, height: 620 } });
    return Window.of(context, await context.newPage(), url, name);
  }

  /** A page that is there, led to an address unless it has one. */
  static async of(context: BrowserContext, page: Page, url: string | undefined, name: string): Promise<Window> {
    page.setDefaultTimeout(DEADLINE_MS);
    const window = new Window(context, page);
    if (url) await page.goto(url);
    await window.status("Live");
    await page.getByLabel("Your name").fill(name);
    return window;
  }

  status(text: string): Promise<void> {
    return this.page.getByRole("status").filter({ hasText: text }).waitFor();
  }

  /** The line of a node. */
  line(name: string): Locator {
    return this.page.locator(".line").filter({ has: this.page.locator(".name").getByText(name, { exact: true }) });
  }

  button(name: string): Locator {
    return this.page.getByRole("button", { name, exact: true });
  }

  async select(name: string): Promise<void> {
    await this.line(name).click();
  }

  /** Types into a field of the selected node, and leaves it. */
  async set(label: string, value: string): Promise<void> {
    const field = this.page.getByLabel("Selected node").getByLabel(label);
    await field.fill(value);
    await field.blur();
  }

  /** Adds a child to a node and names it. */
  async add(under: string, type: string, name: string): Promise<void> {
    await this.select(under);
    await this.page.getByLabel("Type of a new node").selectOption({ label: type });
    await this.button("Add child").click();
    await this.line(`New ${type}`).waitFor();
    await this.set("Name", name);
    await this.line(name).waitFor();
  }

  /** The tree as it is drawn, children in parentheses. */
  outline(): Promise<string> {
    return this.page.evaluate(() => {
      const list = (items: Iterable<Element>): string =>
        [...items]
          .map(item => {
            const name = item.querySelector(":scope > .line > .name")?.textContent ?? "";
            const below = list(item.querySelectorAll(":scope > ul > li"));
            return below ? `${name}(${below})` : name;
          })
          .join(", ");
      return list(document.querySelectorAll("[role=tree] > li"));
    });
  }

  async until(outline: string): Promise<void> {
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
      const drawn = await this.outline();
      if (drawn === outline) return;
      if (Date.now() > deadline) throw new Error(`it shows ${drawn} and not ${outline}`);
      await this.page.evaluate(
        () =>
          new Promise<void>(changed => {
            const tree = document.querySelector("[role=tree]");
            const enough = (): void => {
              observer.disconnect();
              changed();
            };
            const observer = new MutationObserver(enough);
            if (tree) observer.observe(tree, { childList: true, subtree: true, characterData: true });
            // What changed between the look and this is seen by looking again.
            requestAnimationFrame(enough);
          }),
      );
    }
  }

  /** From now on, every status that is shown. */
  async watchStatus(): Promise<() => Promise<string[]>> {
    await this.page.evaluate(() => {
      const shown: string[] = [];
      Object.assign(globalThis, { shown });
      const status = document.querySelector("[role=status]");
      // The text of each change: changes within one task are observed together, after the last of them.
      const record = (changes: MutationRecord[]) => {
        for (const { addedNodes } of changes) shown.push(addedNodes[0]?.textContent ?? "");
      };
      new MutationObserver(record).observe(status as Node, { childList: true });
    });
    return () => this.page.evaluate(() => (globalThis as unknown as { shown: string[] }).shown);
  }
}
