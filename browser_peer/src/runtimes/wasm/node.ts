/** A WebAssembly node behind payloads: what its worker calls. */

import type { Arity } from "../../run/graph";
import { check, ValueFault } from "../../values";
import { type Answer, NodeError } from "../base";
import { World } from "./canonical";
import { Steps } from "./steps";

/** One node, alive. Everything that it throws is a NodeError; after one of kind `trapped` it is unusable. */
export class WasmNode {
  private readonly world: World;
  private readonly steps = new Steps();

  constructor(
    module: WebAssembly.Module,
    nodeType: string,
    params: Uint8Array,
    private readonly arity: Arity,
  ) {
    this.world = new World(module);
    this.world.init(nodeType, params);
  }

  process(payload: Uint8Array): Answer {
    const answer = this.begin(() => this.world.process(payload));
    if (this.arity === "one" && answer.parts.length === 0) {
      throw new NodeError("it answered no part, but its arity is one", "answer");
    }
    return answer;
  }

  next(): Answer {
    return this.steps.step();
  }

  finish(): Answer {
    return this.begin(() => this.world.finish());
  }

  snapshot(): Uint8Array {
    return checked(this.world.snapshot());
  }

  restore(state: Uint8Array): void {
    this.world.restore(state);
  }

  /** The first step of an input: `first` gives the first part, the world's `next` the others. */
  private begin(first: () => Uint8Array | null): Answer {
    if (this.arity !== "many") {
      const part = first();
      return { parts: part === null ? [] : [checked(part)], more: false };
    }
    let fetch = first;
    return this.steps.begin(() => {
      const part = fetch();
      fetch = () => this.world.next();
      return part && checked(part);
    });
  }
}

/** `part`, which must be a value. */
function checked(part: Uint8Array): Uint8Array {
  try {
    check(part);
  } catch (error) {
    if (error instanceof ValueFault) throw new NodeError(`its answer is no value: ${error.message}`, "answer");
    throw error;
  }
  return part;
}
