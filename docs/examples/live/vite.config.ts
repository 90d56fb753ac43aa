import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

/** Where the hub is while the page comes from Vite's own server, which `npm run dev` starts. */
const hub = process.env["HUB_URL"] ?? "http://127.0.0.1:5000";

export default defineConfig({
  // The library as it is in the sources beside, not as it was last built.
  resolve: { alias: { "@talus-hub/client": fileURLToPath(new URL("../../client/src/index.ts", import.meta.url)) } },
  server: { proxy: { "/api": hub, "/socket.io": { target: hub, ws: true } } },
  build: { target: "es2022" },
});
