import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

/** Address of the hub while Vite's own server, which `npm run dev` starts, serves the page. */
const hub = process.env["HUB_URL"] ?? "http://127.0.0.1:5000";

export default defineConfig({
  // Imports the library from its sources, not from its last build.
  resolve: { alias: { "@talus-hub/client": fileURLToPath(new URL("../../client/src/index.ts", import.meta.url)) } },
  server: { proxy: { "/api": hub, "/socket.io": { target: hub, ws: true } } },
  build: { target: "es2022" },
});
