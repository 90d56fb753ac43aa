import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Far more than anything takes: the machine may be busy with something else.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    retry: 0,
    // Each file starts hubs of its own; more at a time would only be in each other's way.
    fileParallelism: false,
    // Nothing is written beside the sources.
    cache: false,
  },
});
