import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** A hub in a process of its own, on data of its own. */
export interface Hub {
  readonly url: string;
  readonly ops: string;
  /** Where it keeps what it has. */
  readonly data: string;
  session(): Promise<string>;
  project(template_id: string, project_name: string): Promise<string>;
  /** The graph as the hub has it. */
  graph(session: string): Promise<{ seq: number; state_hash: string; graph: { roots: { id: string; name: string }[] } }>;
  /** Sends a command as somebody else would. */
  execute(session: string, command_type: string, data: object, client_id?: string): Promise<Record<string, unknown>>;
  operate(path: string, body?: object): Promise<void>;
  /** Asks it to stop, as a deployment would. */
  stop(): Promise<void>;
  /** Ends it, and what it kept. */
  end(): Promise<void>;
}

/** The environment says where the hub is: its binary, and its sources with the templates. */
export async function startHub(settings: Record<string, string> = {}, data = mkdtempSync(join(tmpdir(), "hub-"))): Promise<Hub> {
  const { HUB_BINARY, HUB_SOURCE } = process.env;
  if (!HUB_BINARY || !HUB_SOURCE) throw new Error("HUB_BINARY and HUB_SOURCE say where the hub is");
  const child = spawn(HUB_BINARY, ["--data-dir", data], {
    stdio: ["ignore", "pipe", "inherit"],
    env: {
      ...process.env,
      TALUS_HUB_SERVER__PORT: "0",
      TALUS_HUB_OPS__LISTEN: "127.0.0.1:0",
      TALUS_HUB_OPS__FAULT_INJECTION: "true",
      TALUS_HUB_TEMPLATES__DIR: join(HUB_SOURCE, "config/templates"),
      TALUS_HUB_LOG__LEVEL: "off",
      // Some of the tests let it panic.
      RUST_BACKTRACE: "0",
      ...settings,
    },
  });
  const gone = new Promise<void>(ended => child.once("exit", () => ended()));
  const [url, ops] = await new Promise<[string, string]>((found, failed) => {
    let first = "";
    createInterface({ input: child.stdout }).on("line", line => {
      const [, what, address = ""] = /^(talus-hub listening on|operators at) (http:\/\/[^/\s]+)/.exec(line) ?? [];
      if (what === "operators at") found([first, address]);
      else if (what) first = address;
    });
    void gone.then(() => failed(new Error("the hub ended before it listened")));
  });
  const call = async (address: string, body?: object, headers: Record<string, string> = {}): Promise<never> => {
    const asked = body && { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers } };
    const response = await fetch(address, asked);
    const text = await response.text();
    if (!response.ok) throw new Error(`${address}: ${response.status} ${text}`);
    return JSON.parse(text || "null") as never;
  };
  const api = `${url}/api/v1`;
  return {
    url,
    ops,
    data,
    session: async () => (await call(`${api}/sessions`, {}))["session_id"],
    project: async (template_id, project_name) => (await call(`${api}/projects`, { template_id, project_name }))["session_id"],
    graph: session => call(`${api}/sessions/${session}/graph`),
    execute: (session_id, command_type, data, client_id = "somebody") =>
      call(`${api}/commands/execute`, { session_id, command_type, data }, { "x-client-id": client_id }),
    operate: (path, body = {}) => call(`${ops}/ops${path}`, body),
    stop: async () => {
      child.kill("SIGTERM");
      await gone;
    },
    end: async () => {
      child.kill("SIGKILL");
      await gone;
      rmSync(data, { recursive: true, force: true });
    },
  };
}
