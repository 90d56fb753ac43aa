import { HubError } from "./errors.js";

const utf8 = new TextEncoder();

/** Length of a text in UTF-8, in bytes. */
export const bytesOf = (text: string): number => utf8.encode(text).length;

/**
 * Encodes the result of a function as JSON. Throws `INVALID_REQUEST` for values that JSON cannot represent, which would
 * otherwise be lost or stop the sender: BigInt, functions, symbols, `NaN`, infinities, binary data, maps and sets,
 * cycles, a `toJSON` that throws, `undefined` in a list or as a new value. Throws the same if the function throws. Any
 * other field that is `undefined` is omitted, as in `JSON.stringify`.
 */
export function encode(make: () => unknown): string {
  try {
    const text = JSON.stringify(make(), function (this: Record<string, unknown>, key, encoded: unknown) {
      const type = typeof encoded;
      if (
        type === "bigint" ||
        type === "function" ||
        type === "symbol" ||
        (type === "number" && !Number.isFinite(encoded)) ||
        (type === "undefined" && (Array.isArray(this) || key === "new_value")) ||
        ArrayBuffer.isView(this[key]) ||
        (type === "object" && encoded && !/(Object|Array)\]$/.test(Object.prototype.toString.call(encoded)))
      ) {
        throw new TypeError(`${key || "the value"} is ${type === "object" ? Object.prototype.toString.call(encoded) : String(encoded)}`);
      }
      return encoded;
    });
    if (typeof text !== "string") throw new TypeError("there is no value");
    return text;
  } catch (error) {
    throw new HubError("INVALID_REQUEST", `this cannot be said in JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}
