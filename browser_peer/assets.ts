/** Build step: Pyodide and the Python that nodes need, served by ourselves under `pyodide/` beside the page. */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, URL } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import { loadPyodide, type PyodideAPI } from "pyodide";
import type { Plugin } from "vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const PYTHON = process.env.PYTHON ?? at("../.venv/bin/python");
const CACHE = at("node_modules/.cache/pyodide-assets");
const npm = (name: string) => readFileSync(at(`node_modules/pyodide/${name}`));

/** Puts `pyodide/` into the output: the npm package's files, mesh.zip, and nodes.json, `{types, bytes}`. */
export function pyodideAssets(): Plugin {
  return {
    name: "pyodide-assets",
    apply: "build",
    async generateBundle() {
      const ours = pythonFiles();
      const counted = {
        "pyodide.asm.wasm": npm("pyodide.asm.wasm"),
        "python_stdlib.zip": await compiled(npm("python_stdlib.zip"), { sourceless: true }),
        "mesh.zip": await compiled(ours.zip, { sourceless: false }),
      };
      const bytes = Object.values(counted).reduce((sum, file) => sum + file.length, 0);
      const scripts = { "pyodide.mjs": npm("pyodide.mjs"), "pyodide.asm.mjs": npm("pyodide.asm.mjs") };
      for (const [name, source] of Object.entries({ ...counted, ...scripts })) {
        this.emitFile({ type: "asset", fileName: `pyodide/${name}`, source });
        this.emitFile({ type: "asset", fileName: `pyodide/${name}.br`, source: kept(source, "br", compress) });
      }
      const index = JSON.stringify({ types: ours.types, bytes });
      this.emitFile({ type: "asset", fileName: "pyodide/nodes.json", source: index });
    },
  };
}

function pythonFiles(): { zip: Buffer; types: unknown } {
  const folder = mkdtempSync(join(tmpdir(), "pyodide-assets-"));
  try {
    execFileSync(PYTHON, [at("pyodide_assets.py"), folder], { stdio: ["ignore", "inherit", "inherit"] });
    const types: unknown = JSON.parse(readFileSync(join(folder, "nodes.json"), "utf8"));
    return { zip: readFileSync(join(folder, "mesh.zip")), types };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

let pyodide: Promise<PyodideAPI> | undefined;

/** The zip with its modules compiled, so a tab need not: that halves the time until Python is there. */
async function compiled(zip: Buffer, { sourceless }: { sourceless: boolean }): Promise<Buffer> {
  const file = cacheFile(zip, "zip");
  if (!existsSync(file)) {
    pyodide ??= loadPyodide();
    const python = await pyodide;
    python.FS.writeFile("/in.zip", new Uint8Array(zip));
    const globals = python.toPy({ sourceless });
    python.runPython(readFileSync(at("compile_zip.py"), "utf8"), { globals });
    writeFileSync(file, python.FS.readFile("/out.zip"));
  }
  return readFileSync(file);
}

/** What `make` makes of `source`, kept between builds. */
function kept(source: Buffer, suffix: string, make: (source: Buffer) => Buffer): Buffer {
  const file = cacheFile(source, suffix);
  if (!existsSync(file)) writeFileSync(file, make(source));
  return readFileSync(file);
}

function cacheFile(source: Buffer, suffix: string): string {
  mkdirSync(CACHE, { recursive: true });
  const recipe = createHash("sha256").update(source).update(readFileSync(at("compile_zip.py")));
  return join(CACHE, `${recipe.digest("hex")}.${suffix}`);
}

function compress(source: Buffer): Buffer {
  return brotliCompressSync(source, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } });
}
