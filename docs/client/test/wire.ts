import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** A wire between clients and the hub that can be cut, and that loses what it is told to lose. */
export interface Wire {
  /** Where clients connect to instead of the hub. */
  readonly url: string;
  /** Breaks every connection, and each that is made until it is released. */
  cut(): void;
  release(): void;
  /** Where connections lead from now on. */
  lead(to: string): void;
  close(): void;
}

export async function wireTo(hub: string): Promise<Wire> {
  let port = Number(new URL(hub).port);
  let isCut = false;
  const ends = new Set<Socket>();
  const server = createServer(client => {
    const upstream = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      ends.add(from);
      from.setNoDelay(true).pipe(to);
      // A broken end breaks the other one; which of the two broke first does not matter.
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        ends.delete(from);
      });
    }
    if (isCut) client.destroy();
  });
  await new Promise<void>(listening => server.listen(0, "127.0.0.1", listening));
  const cut = (): void => {
    isCut = true;
    for (const end of ends) end.destroy();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    release: () => void (isCut = false),
    lead: to => void (port = Number(new URL(to).port)),
    close: () => {
      cut();
      server.close();
    },
  };
}
