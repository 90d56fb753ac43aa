import { gzipSync } from "node:zlib";

import { build } from "esbuild";
import { expect, test } from "vitest";

/** What the library adds to a page that has `socket.io-client`: as a page gets it, minified and compressed. */
const COMPRESSED_BYTES_MAX = 7_000;
const MINIFIED_BYTES_MAX = 16_000;

test("the library stays small", async () => {
  const { outputFiles } = await build({
    entryPoints: ["src/index.ts"],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["socket.io-client"],
    write: false,
  });
  const [own] = outputFiles;
  const [minified, compressed] = [own?.contents.length ?? 0, gzipSync(own?.contents ?? "", { level: 9 }).length];
  console.log(`@talus-hub/client: ${minified} bytes minified, ${compressed} bytes compressed`);
  expect(compressed).toBeGreaterThan(0);
  expect(compressed).toBeLessThan(COMPRESSED_BYTES_MAX);
  expect(minified).toBeLessThan(MINIFIED_BYTES_MAX);
});
