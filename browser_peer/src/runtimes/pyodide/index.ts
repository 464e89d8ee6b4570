/** Python nodes in the browser, all in one worker with Pyodide, which is loaded when the first of them is made. */

import limits from "../../generated/limits.json";
import type { GraphNode } from "../../run/graph";
import { type Answer, type Instance, NodeError, type NodeSpec, type Runtime } from "../base";
import { Remote } from "../remote";
import type { Loaded } from "./worker";

export interface PyodideProgress {
  state: "absent" | "loading" | "ready";
  /** Bytes, unpacked. */
  loaded: number;
  total: number;
}

/** nodes.json: the types, known before Pyodide is there, and the bytes of what it loads. */
interface Index {
  types: NodeSpec[];
  bytes: number;
}

/** A node that takes too long ends the worker; other nodes without state are then made again and their calls repeated. */
export class PyodideRuntime implements Runtime {
  readonly name = "pyodide";
  progress: PyodideProgress = { state: "absent", loaded: 0, total: 0 };
  private readonly base: string;
  private index: Promise<Index> | null = null;
  private worker: Promise<Remote> | null = null;

  constructor(
    private readonly onProgress: (progress: PyodideProgress) => void = () => {},
    base = `${import.meta.env.BASE_URL}pyodide/`,
  ) {
    this.base = new URL(base, location.href).href;
  }

  async types(): Promise<NodeSpec[]> {
    return (await this.readIndex()).types;
  }

  async create(node: GraphNode): Promise<Instance> {
    const instance = new PyodideInstance(this, node);
    await instance.init();
    return instance;
  }

  close(): void {
    this.worker?.then((remote) => remote.end(new NodeError("the runtime is closed", "crashed"))).catch(() => {});
    this.worker = null;
  }

  /** The worker, loaded; a new one where it was ended. */
  async remote(): Promise<Remote> {
    if (this.worker === null) this.worker = this.load();
    const { worker } = this;
    const remote = await worker;
    if (remote.ended === null) return remote;
    if (this.worker === worker) this.worker = null;
    return this.remote();
  }

  private readIndex(): Promise<Index> {
    this.index ??= fetchJson(`${this.base}nodes.json`).catch((error) => {
      this.index = null;
      throw error;
    });
    return this.index;
  }

  private async load(): Promise<Remote> {
    try {
      const { bytes: total } = await this.readIndex();
      this.report({ state: "loading", loaded: 0, total });
      const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "pyodide" });
      const remote = new Remote(worker, (message) => {
        this.report({ state: "loading", loaded: (message as Loaded).bytes, total });
      });
      await remote.call({ op: "load", base: this.base }, Number.POSITIVE_INFINITY);
      this.report({ state: "ready", loaded: total, total });
      return remote;
    } catch (error) {
      this.worker = null;
      this.report({ state: "absent", loaded: 0, total: 0 });
      throw new NodeError(`Pyodide could not be loaded: ${(error as Error).message}`, "crashed");
    }
  }

  private report(progress: PyodideProgress): void {
    this.progress = progress;
    this.onProgress(progress);
  }
}

/** One node of those in the worker. */
class PyodideInstance implements Instance {
  private static count = 0;
  private id = 0;
  private remote: Remote | null = null;

  constructor(
    private readonly runtime: PyodideRuntime,
    private readonly node: GraphNode,
  ) {}

  /** Makes the node, in whichever worker there is now. */
  async init(): Promise<void> {
    this.remote = await this.runtime.remote();
    this.id = PyodideInstance.count++;
    const { node_type: nodeType, params: payload } = this.node;
    await this.remote.call({ op: "init", node: this.id, nodeType, payload }, limits.SETUP_TIMEOUT_S);
  }

  process(payload: Uint8Array): Promise<Answer> {
    return this.call("process", payload);
  }

  next(): Promise<Answer> {
    return this.call("next");
  }

  finish(): Promise<Answer> {
    return this.call("finish");
  }

  async snapshot(): Promise<Uint8Array> {
    return (await this.call("snapshot")).parts[0]!;
  }

  async restore(state: Uint8Array): Promise<void> {
    await this.call("restore", state);
  }

  close(): void {
    const remote = this.remote;
    this.remote = null;
    remote?.call({ op: "close", node: this.id }, limits.NODE_CLOSE_TIMEOUT_S).catch(() => {});
  }

  private async call(op: string, bytes?: Uint8Array): Promise<Answer> {
    try {
      return await this.send(op, bytes);
    } catch (error) {
      // the fault of another node, which may be made good where no state and no further parts are lost
      const innocent = this.remote !== null && error === this.remote.ended && !this.node.stateful && op === "process";
      if (!innocent) throw error;
    }
    await this.init();
    return this.send(op, bytes);
  }

  private async send(op: string, bytes?: Uint8Array): Promise<Answer> {
    if (this.remote === null) throw new NodeError("its instance is closed", "crashed");
    const remote = this.remote;
    // a copy that is handed over: the bytes may belong to others, or be a small part of a large buffer
    const payload = bytes?.slice();
    try {
      return await remote.call<Answer>(
        { op, node: this.id, payload },
        this.node.timeout_s,
        payload && [payload.buffer],
      );
    } catch (error) {
      if (error instanceof NodeError && error.kind === "crashed") {
        remote.end(new NodeError("the worker of the Python nodes died in another node", "crashed"));
      }
      throw error;
    }
  }
}

async function fetchJson(url: string): Promise<Index> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  return response.json();
}
