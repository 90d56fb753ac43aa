import { newId } from "./ids.js";

/**
 * How long a page waits for the lock of the name that it found. A page that is reloaded gets it as soon as the page
 * before is gone; a duplicated tab never does.
 */
const WAIT_MS = 500;

interface Said {
  claim?: string;
  /** The nonce of the claim that is refused. */
  taken?: string;
}

const names = new Map<string, Promise<string>>();

/**
 * Name of this browser window for `connect({clientId})`. It survives a reload, so that "mine" does too, and no two
 * windows have the same: a duplicated tab is given a copy of `sessionStorage`, so a name that is found there counts only
 * if no other window holds it. The holder is known by a Web Lock, or by an answer on a BroadcastChannel for pages without
 * locks (plain http from another machine). With neither, or without storage, each load has a new name.
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
    // Storage is full or forbidden: the name lasts as long as the page.
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

/** Holds a name until the page goes; `false` if another window holds it, or if that cannot be known. */
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
  // The lowest nonce wins if two claim at once. A holder's is empty.
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
