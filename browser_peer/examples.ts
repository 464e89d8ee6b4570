/** Build step: the manifests of examples/, bundled as `virtual:examples`. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath, URL } from "node:url";
import type { Plugin } from "vite";
import { parse } from "yaml";

const NAME = "virtual:examples";
const FOLDER = fileURLToPath(new URL("../examples/", import.meta.url));

/** What src/page/setup/examples.ts exports; the items of those with a file of them stay with the server. */
export function bundledExamples(): Plugin {
  return {
    name: "bundled-examples",
    resolveId: (id) => (id === NAME ? `\0${NAME}` : null),
    load: (id) => (id === `\0${NAME}` ? `export default ${JSON.stringify(readExamples())};` : null),
  };
}

function readExamples(): object[] {
  const files = readdirSync(FOLDER);
  const manifests = files.filter((file) => file.endsWith(".yaml"));
  return manifests.sort((a, b) => (plainFirst(a) < plainFirst(b) ? -1 : 1)).map((file) => {
    const text = readFileSync(FOLDER + file, "utf8");
    const manifest = parse(text);
    const items = `${file.replace(/(\.mesh)?\.yaml$/, "")}.jsonl`;
    return {
      name: file.replace(/\.yaml$/, ""),
      title: manifest.metadata?.name ?? file,
      text,
      input: manifest["x-input"] === undefined ? null : JSON.stringify(manifest["x-input"]),
      items: files.includes(items) ? `/examples/${items}` : null,
    };
  });
}

function plainFirst(file: string): string {
  return file.replace(".mesh.yaml", ".yaml ");
}
