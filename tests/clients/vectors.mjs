// Computes the hashes of test vectors for the tests: node vectors.mjs MODULE < VECTORS, and the same vectors come out,
// each with the hash that the module's functions give it.

import { text } from "node:stream/consumers";
import { argv, stdin, stdout } from "node:process";

const { recordHash, stateHash } = await import(argv[2]);
const { records, graphs } = JSON.parse(await text(stdin));
stdout.write(JSON.stringify({
  records: records.map(({ record }) => recordHash(record).toString(16).padStart(16, "0")),
  graphs: graphs.map(({ graph }) => stateHash(graph)),
}));
