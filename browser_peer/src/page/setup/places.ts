/** Where a fault's path stands in the text: `nodes[2].params.factr` → the range of that key. Loaded on the first click. */

import { isMap, isNode, isPair, isSeq, type Node, parseDocument } from "yaml";

/** The range of the deepest part of `path` that exists; the start of the text when nothing does. */
export function placeOf(text: string, path: string): [start: number, end: number] {
  const document = parseDocument(text, { keepSourceTokens: true });
  let here: Node | null = document.contents;
  let range = rangeOf(here);
  for (const step of steps(path)) {
    const next: { key: Node | null; value: Node | null } | null = child(here, step);
    if (!next) break;
    range = rangeOf(next.key ?? next.value);
    here = next.value;
  }
  return range;
}

function steps(path: string): (string | number)[] {
  return [...path.matchAll(/\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([^.[\]]+)/g)].map(([, index, quoted, plain]) =>
    index === undefined ? (quoted ?? plain ?? "") : Number(index),
  );
}

function child(node: Node | null, step: string | number): { key: Node | null; value: Node | null } | null {
  if (isSeq(node) && typeof step === "number") {
    const item = node.items[step];
    return isNode(item) ? { key: null, value: item } : null;
  }
  if (!isMap(node)) return null;
  const pair = node.items.find((each) => isPair(each) && isNode(each.key) && String(each.key) === String(step));
  if (!pair) return null;
  return { key: isNode(pair.key) ? pair.key : null, value: isNode(pair.value) ? pair.value : null };
}

function rangeOf(node: Node | null): [number, number] {
  return node?.range ? [node.range[0], node.range[1]] : [0, 0];
}
