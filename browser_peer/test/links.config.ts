/** Builds links.ts into the one script that tests/browser/test_browser_links.py gives to its pages. */

import { fileURLToPath, URL } from "node:url";
import { defineConfig } from "vite";

export default defineConfig({
  build: {
    target: "es2023",
    minify: false,
    lib: {
      entry: fileURLToPath(new URL("links.ts", import.meta.url)),
      name: "links",
      formats: ["iife"],
      fileName: () => "links.js",
    },
  },
});
