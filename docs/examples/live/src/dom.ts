type Child = Node | string;

/** Creates an element. A function is a listener, a boolean sets or omits the attribute, a string is its value. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | boolean | ((event: Event) => void)> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (typeof value === "string") element.setAttribute(name, value);
    else element.toggleAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Replaces the children of an element, in the given order, without touching the children that are in their place. */
export function arrange(parent: Element, children: readonly Element[]): void {
  const focused = document.activeElement;
  for (const old of [...parent.children]) if (!children.includes(old)) old.remove();
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  // A moved element loses the focus, which a user at the keyboard does not expect.
  if (focused instanceof HTMLElement && focused !== document.activeElement && focused.isConnected) focused.focus();
}

/** Returns a colour for a name, always the same. */
export function colourOf(name: string): string {
  let hash = 7;
  for (const char of name) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % 360;
  return `hsl(${hash} 55% 34%)`;
}

let gone: ReturnType<typeof setTimeout> | undefined;

/** Shows a message for 6 s. */
export function say(text: string): void {
  const place = document.querySelector("#said") ?? document.body.appendChild(make("p", { id: "said", role: "alert" }));
  place.textContent = text;
  clearTimeout(gone);
  gone = setTimeout(() => (place.textContent = ""), 6_000);
}
