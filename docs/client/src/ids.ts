/**
 * Returns a random UUID, for a `node_id` that has to be known before the hub has created the node. `crypto.randomUUID` is
 * missing in pages over plain http from another machine.
 */
export function newId(): string {
  const digits = [...crypto.getRandomValues(new Uint8Array(16))].map((byte, at) => {
    const marked = at === 6 ? (byte & 0x0f) | 0x40 : at === 8 ? (byte & 0x3f) | 0x80 : byte;
    return marked.toString(16).padStart(2, "0") + ([3, 5, 7, 9].includes(at) ? "-" : "");
  });
  return digits.join("");
}
