import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Far more than anything takes: the machine may be busy with something else.
    testTimeout: 180_000,
    hookTimeout: 120_000,
    retry: 0,
    // One browser at a time: a machine that is busy has enough with one.
    fileParallelism: false,
    // The steps build on each other: after the first that fails there is nothing to be learnt.
    bail: 1,
    cache: false,
  },
});
