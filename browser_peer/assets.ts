/** Build step: Pyodide and the Python that nodes need, served by ourselves under `pyodide/` beside the page. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, URL } from "node:url";
import type { Plugin } from "vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const PYTHON = process.env.PYTHON ?? at("../.venv/bin/python");

/** Puts `pyodide/` into the output: the npm package's files, mesh.zip, and nodes.json, `{types, bytes}`. */
export function pyodideAssets(): Plugin {
  return {
    name: "pyodide-assets",
    apply: "build",
    generateBundle() {
      const folder = mkdtempSync(join(tmpdir(), "pyodide-assets-"));
      try {
        execFileSync(PYTHON, [at("pyodide_assets.py"), folder], { stdio: ["ignore", "inherit", "inherit"] });
        const npm = (name: string) => readFileSync(at(`node_modules/pyodide/${name}`));
        const counted = {
          "pyodide.asm.wasm": npm("pyodide.asm.wasm"),
          "python_stdlib.zip": npm("python_stdlib.zip"),
          "mesh.zip": readFileSync(join(folder, "mesh.zip")),
        };
        const bytes = Object.values(counted).reduce((sum, file) => sum + file.length, 0);
        const types = JSON.parse(readFileSync(join(folder, "nodes.json"), "utf8"));
        const files = { ...counted, "pyodide.mjs": npm("pyodide.mjs"),
          "pyodide.asm.mjs": npm("pyodide.asm.mjs"), "nodes.json": JSON.stringify({ types, bytes }) };
        for (const [name, source] of Object.entries(files)) {
          this.emitFile({ type: "asset", fileName: `pyodide/${name}`, source });
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  };
}
