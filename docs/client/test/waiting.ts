import type { Client, Status } from "../src/index.js";

/** Waits until something is so, looking whenever anything happens to the client. Never sleeps. */
export function until(client: Client, is: () => boolean): Promise<void> {
  return new Promise(resolve => {
    const stop: (() => void)[] = [];
    const look = (): void => {
      if (!is()) return;
      stop.splice(0).forEach(each => each());
      resolve();
    };
    stop.push(client.onChange(look), client.onStatus(look), client.onEvent(look), client.presence.onChange(look));
    look();
  });
}

/** Waits for a status, and tells those on the way there. */
export async function untilStatus(client: Client, wanted: Status): Promise<Status[]> {
  const seen = [client.status];
  const stop = client.onStatus(status => seen.push(status));
  await until(client, () => client.status === wanted);
  stop();
  return seen;
}

/** The names of the graph, children in parentheses. */
export function outline(nodes: readonly { name: string; children: readonly unknown[] }[]): string {
  const below = (node: { children: readonly unknown[] }): string => outline(node.children as typeof nodes);
  return nodes.map(node => (node.children.length ? `${node.name}(${below(node)})` : node.name)).join(", ");
}
