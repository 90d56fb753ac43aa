/** Location of a hub: the origin for requests, and the path that a proxy has put in front of the hub's own. */
export interface Address {
  /** Scheme, host and port, such as `https://hub.example`. */
  readonly origin: string;
  /** Empty, or a path that begins with a slash and does not end with one. */
  readonly path: string;
}

const SCHEMES: Readonly<Record<string, string>> = { "http:": "http:", "https:": "https:", "ws:": "http:", "wss:": "https:" };

/**
 * Parses the address of a hub. A trailing slash has no meaning. A path is the sub-path under which a proxy has the hub.
 * In a page, the default is the page's origin, and an address that begins with a slash is a path there.
 *
 * Throws a `TypeError` for any other address: another scheme, credentials, a query, a fragment.
 */
export function addressOf(url = ""): Address {
  const wrong = (why: string): TypeError =>
    new TypeError(`the url of a hub is like https://hub.example or https://example/hub, and ${JSON.stringify(url)} ${why}`);
  const page = (globalThis as { location?: { origin: string } }).location?.origin;
  let parsed: URL;
  try {
    parsed = /^(\/(?!\/)|$)/.test(url) && page ? new URL(page + url) : new URL(url);
  } catch {
    throw wrong("is none");
  }
  const scheme = SCHEMES[parsed.protocol];
  if (!scheme) throw wrong(`has the scheme ${parsed.protocol}`);
  if (parsed.username || parsed.password) throw wrong("has credentials");
  if (/[?#]/.test(url)) throw wrong("has a query or a fragment");
  return { origin: `${scheme}//${parsed.host}`, path: parsed.pathname.replace(/\/+$/, "") };
}
