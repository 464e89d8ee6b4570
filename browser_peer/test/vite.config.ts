/** Builds the page that tests/browser/test_browser_runtimes.py drives. */

import { fileURLToPath, URL } from "node:url";
import { defineConfig } from "vite";
import { pyodideAssets } from "../assets.ts";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  plugins: [pyodideAssets()],
  build: { target: "es2023", rolldownOptions: { input: fileURLToPath(new URL("runtimes.html", import.meta.url)) } },
  worker: { format: "es" },
});
