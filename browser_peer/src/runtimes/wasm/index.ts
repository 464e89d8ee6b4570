/** WebAssembly nodes in the browser: one module worker for each node, whose termination is its time limit. */

import limits from "../../generated/limits.json";
import type { GraphNode } from "../../run/graph";
import { type Answer, type Instance, NodeError, type NodeSpec, type Runtime } from "../base";
import { Remote } from "../remote";
import type { Described } from "./worker";

function startWorker(): Remote {
  return new Remote(new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "wasm node" }));
}

/** Runs the types of the modules under `base`, whose `index.json` lists them. A refused one is warned of and left out. */
export class WasmRuntime implements Runtime {
  readonly name = "wasm";
  private instances: WasmInstance[] = [];
  private modules: Promise<Map<string, Described>> | null = null;

  constructor(private readonly base = `${import.meta.env.BASE_URL}nodes/`) {}

  async types(): Promise<NodeSpec[]> {
    return [...(await this.load())].map(([type, { specs }]) => specs.find((spec) => spec.node_type === type)!);
  }

  async create(node: GraphNode): Promise<Instance> {
    const module = (await this.load()).get(node.node_type);
    if (module === undefined) throw new NodeError(`there is no WebAssembly node type '${node.node_type}' here`);
    const instance = new WasmInstance(node);
    this.instances = [...this.instances.filter((each) => !each.ended), instance];
    try {
      await instance.init(module.module);
    } catch (error) {
      instance.close();
      throw error;
    }
    return instance;
  }

  close(): void {
    for (const instance of this.instances) instance.close();
  }

  /** The module of each node type, read once. */
  private load(): Promise<Map<string, Described>> {
    this.modules ??= this.read().catch((error) => {
      this.modules = null;
      throw error;
    });
    return this.modules;
  }

  private async read(): Promise<Map<string, Described>> {
    const names = (await (await get(`${this.base}index.json`)).json()) as string[];
    const described = await Promise.all(
      names.filter((name) => name.endsWith(".wasm")).map((name) => this.describe(name)),
    );
    const types = new Map<string, Described>();
    for (const module of described) {
      for (const spec of module?.specs ?? []) if (!types.has(spec.node_type)) types.set(spec.node_type, module!);
    }
    return types;
  }

  private async describe(name: string): Promise<Described | null> {
    const bytes = new Uint8Array(await (await get(this.base + name)).arrayBuffer());
    const remote = startWorker();
    try {
      return await remote.call<Described>({ op: "describe", bytes }, limits.DESCRIBE_TIMEOUT_S, [bytes.buffer]);
    } catch (error) {
      console.warn(`the module ${name} is refused: ${(error as NodeError).message}`);
      return null;
    } finally {
      remote.end(new NodeError("it was described", "crashed"));
    }
  }
}

/** One node, in a worker of its own. */
class WasmInstance implements Instance {
  private readonly remote = startWorker();

  constructor(private readonly node: GraphNode) {}

  init(module: WebAssembly.Module): Promise<void> {
    const { node_type: nodeType, params, arity } = this.node;
    return this.call({ op: "init", module, nodeType, params, arity }, limits.SETUP_TIMEOUT_S);
  }

  process(payload: Uint8Array): Promise<Answer> {
    return this.call({ op: "process" }, this.node.timeout_s, payload);
  }

  next(): Promise<Answer> {
    return this.call({ op: "next" });
  }

  finish(): Promise<Answer> {
    return this.call({ op: "finish" });
  }

  snapshot(): Promise<Uint8Array> {
    return this.call({ op: "snapshot" });
  }

  restore(state: Uint8Array): Promise<void> {
    return this.call({ op: "restore" }, this.node.timeout_s, state);
  }

  close(): void {
    this.remote.end(new NodeError("its instance is closed", "crashed"));
  }

  get ended(): boolean {
    return this.remote.ended !== null;
  }

  private async call<T>(message: object, timeoutS = this.node.timeout_s, bytes?: Uint8Array): Promise<T> {
    // a copy that is handed over: the bytes may belong to others, or be a small part of a large buffer
    const payload = bytes?.slice();
    try {
      return await this.remote.call<T>({ ...message, payload }, timeoutS, payload && [payload.buffer]);
    } catch (error) {
      if (error instanceof NodeError && error.kind === "trapped") this.remote.end(error);
      throw error;
    }
  }
}

async function get(url: string): Promise<Response> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  return response;
}
