import { newId } from "./ids.js";

/**
 * Time that a page waits for the lock of a stored name, in milliseconds. A reloaded page gets the lock as soon as the
 * previous page is gone; a duplicated tab never gets the lock.
 */
const WAIT_MS = 500;

interface Said {
  claim?: string;
  /** Nonce of the refused claim. */
  taken?: string;
}

const names = new Map<string, Promise<string>>();

/**
 * Returns the name of this browser window for `connect({clientId})`. The name survives a reload, so the undo of this
 * window does too, and no two windows have the same name. A duplicated tab starts with a copy of `sessionStorage`, so a
 * stored name counts only if no other window holds the name. The holder is found by a Web Lock, or by an answer on a
 * BroadcastChannel in pages without locks (plain http from another machine). With neither mechanism, or without storage,
 * each load has a new name.
 *
 * `key` is the key in `sessionStorage`.
 */
export function windowClientId(key = "talus-client-id"): Promise<string> {
  const known = names.get(key) ?? find(key);
  names.set(key, known);
  return known;
}

async function find(key: string): Promise<string> {
  const found = stored(key);
  if (found && /^[\w-]{1,64}$/.test(found) && (await hold(`${key}:${found}`))) return found;
  const made = newId();
  try {
    sessionStorage.setItem(key, made);
  } catch {
    // Storage is full or forbidden: the name lasts only as long as the page.
  }
  void hold(`${key}:${made}`);
  return made;
}

function stored(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Holds a name until the page is unloaded. Resolves to `false` if another window holds the name or cannot be asked. */
function hold(name: string): Promise<boolean> {
  const { locks } = navigator as Partial<Navigator>;
  if (locks) {
    return new Promise(done => {
      const signal = AbortSignal.timeout(WAIT_MS);
      const held = locks.request(name, { signal }, () => {
        done(true);
        return new Promise(() => undefined);
      });
      held.catch(() => done(false));
    });
  }
  if (typeof BroadcastChannel !== "function") return Promise.resolve(false);
  // Of two claims at the same time the lowest nonce wins. The nonce of a holder is empty, so a holder always wins.
  let nonce = newId();
  const channel = new BroadcastChannel(name);
  return new Promise(done => {
    const wait = setTimeout(() => {
      nonce = "";
      done(true);
    }, WAIT_MS);
    channel.onmessage = ({ data: { claim, taken } }: MessageEvent<Said>) => {
      if (claim && nonce < claim) channel.postMessage({ taken: claim });
      if (!taken || taken !== nonce) return;
      clearTimeout(wait);
      channel.close();
      done(false);
    };
    channel.postMessage({ claim: nonce });
  });
}
