import { fileURLToPath, URL } from "node:url";
import { defineConfig } from "vite";
import { pyodideAssets } from "./assets.ts";
import { bundledExamples } from "./examples.ts";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  plugins: [bundledExamples(), pyodideAssets()],
  build: {
    outDir: at("../mesh/_assets/page"),
    emptyOutDir: true,
    target: "es2023",
    cssTarget: ["chrome123", "firefox120", "safari17.5"], // light-dark() stays as it is written
    assetsInlineLimit: 0, // the page's policy allows no data: fonts
    rolldownOptions: {
      input: { page: at("index.html"), dashboard: at("dashboard.html"), mesh: at("src/index.ts") },
      preserveEntrySignatures: "exports-only",
      // the library has a name that other pages can rely on
      output: { entryFileNames: ({ name }) => (name === "mesh" ? "mesh.js" : "assets/[name]-[hash].js") },
    },
  },
  worker: { format: "es" },
});
