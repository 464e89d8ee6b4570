import { beforeEach, describe, expect, it } from "vitest";
import type { RunMessage as Message } from "../protocol/messages";
import type { Edge, Graph, GraphNode, Plan } from "../run/graph";
import { type Answer, type Instance, NodeError, type NodeSpec, type Runtime } from "../runtimes/base";
import { Hosting, type Sender, type Start } from "./hosting";
import { Run } from "./run";
import type { RunKey } from "./site";
import type { RunOptions } from "./types";

/** What a node does to the single byte of a payload. */
type Work = (byte: number) => Promise<number> | number;

class Arithmetic implements Runtime {
  readonly name = "wasm";
  alive = 0;

  constructor(private readonly works: Record<string, Work>) {}

  async types(): Promise<NodeSpec[]> {
    return [];
  }

  async create(node: GraphNode): Promise<Instance> {
    const work = this.works[node.node_type];
    if (work === undefined) throw new NodeError(`no ${node.node_type} here`);
    this.alive += 1;
    const none = async (): Promise<Answer> => ({ parts: [], more: false });
    return {
      process: async (payload) => ({ parts: [Uint8Array.of(await work(payload[0]!))], more: false }),
      next: none,
      finish: none,
      snapshot: async () => new Uint8Array(),
      restore: async () => {},
      close: () => {
        this.alive -= 1;
      },
    };
  }

  close(): void {}
}

/** Peers of one process, whose links deliver in order and later. */
class Mesh {
  readonly peers = new Map<string, Peer>();
  lag: Promise<unknown> = Promise.resolve();

  add(id: string, works: Record<string, Work>): Peer {
    const peer = new Peer(this, id, works);
    this.peers.set(id, peer);
    return peer;
  }

  deliver(from: string, to: string, message: Message): void {
    this.lag = this.lag.then(() => this.peers.get(to)?.receive(from, structuredClone(message)));
  }
}

class Peer {
  readonly serves = true;
  readonly runtime: Arithmetic;
  readonly runtimes: Map<"wasm", Runtime>;
  readonly types: Map<string, NodeSpec>;
  readonly hosting = new Hosting(this);
  can = ["submit", "work"];
  planned: Promise<{ graph: Graph; plan: Plan; name: string }> | undefined;
  run: Run | undefined;

  constructor(
    private readonly mesh: Mesh,
    readonly id: string,
    works: Record<string, Work>,
  ) {
    this.runtime = new Arithmetic(works);
    this.runtimes = new Map([["wasm", this.runtime]]);
    this.types = new Map(Object.keys(works).map((type) => [type, spec(type)]));
  }

  get name(): string {
    return this.id;
  }

  nameOf(peer: string): string {
    return peer;
  }

  async plan() {
    return this.planned!;
  }

  async linkTo(peer: string): Promise<void> {
    if (!this.mesh.peers.has(peer)) throw new Error(`no link to ${peer}`);
  }

  post(to: string, message: Message): void {
    this.mesh.deliver(this.id, to, message);
  }

  report(): void {}
  learn(): void {}
  ended(): void {}

  start(places: Record<string, string>, items: number[], options: RunOptions = {}): Run {
    this.planned = Promise.resolve(chain(places));
    const run = new Run(
      this,
      "manifest",
      items.map((item) => Uint8Array.of(item)),
      options,
    );
    this.run = run;
    return run;
  }

  receive(from: string, message: Message): void {
    const key = { driver: message.driver, run: message.run };
    const sender = { peer: from, name: from, can: new Set(this.mesh.peers.get(from)!.can) };
    if (message.driver === this.id) this.run!.receive(from, message);
    else this.serve(sender, key, message);
  }

  private serve(sender: Sender, key: RunKey, message: Message): void {
    const from = sender.peer;
    switch (message.type) {
      case "START":
        void this.hosting.start(sender, message as Start);
        break;
      case "STOP":
        this.hosting.stop(key);
        break;
      case "STATS":
        this.hosting.stats(key);
        break;
      case "CREDIT":
        this.hosting.site(key, message.epoch)?.receiveCredit(from, message.edge, message.seq, message.amount);
        break;
      case "PART":
        this.hosting.site(key, message.epoch)?.receiveFrame(from, message);
        break;
      default:
        throw new Error(`${message.type} at ${this.id}`);
    }
  }
}

function spec(node_type: string): NodeSpec {
  const flags = { join: false, stateful: false, deterministic: true, finishes: false, snapshots: false };
  return { node_type, doc: "", params: {}, accepts: "any", returns: "any", arity: "one", ...flags, runtimes: ["wasm"] };
}

/** A chain of nodes, each of a type of its own name, at the peers given. */
function chain(places: Record<string, string>) {
  const ids = Object.keys(places);
  const edge = (from: string | null, to: string | null): Edge => ({
    from,
    to,
    port: to ?? from!,
    list: false,
    overflow: "block",
  });
  const inner = ids.slice(1).map((id, index) => edge(ids[index]!, id));
  const nodes = ids.map((id) => ({ ...spec(id), id, params: Uint8Array.of(0x80), optional: [], timeout_s: 30 }));
  const graph: Graph = { nodes, edges: [...inner, edge(null, ids[0]!), edge(ids.at(-1)!, null)], order: ids };
  const seat = (peer: string) => ({ on: [{ peer, runtime: "wasm" as const }], share: "modulo" as const });
  const steps = [{ from_seq: 0, nodes: Object.fromEntries(ids.map((id) => [id, seat(places[id]!)])) }];
  return { graph, plan: { epoch: 1, steps, latency_ms: 1, why: {} }, name: "chain" };
}

async function bytes(run: Run): Promise<number[]> {
  const found: number[] = [];
  for await (const result of run) found.push(result.payload[0]!);
  return found;
}

const double: Work = (byte) => byte * 2;
const plus1: Work = (byte) => byte + 1;
const never: Work = () => new Promise(() => {});
const fail3: Work = (byte) => {
  if (byte === 3) throw new NodeError("it was three");
  return byte;
};

describe("a run", () => {
  let mesh: Mesh;
  let me: Peer;
  let ada: Peer;
  let bea: Peer;
  beforeEach(() => {
    mesh = new Mesh();
    const works = { double, plus1, never, fail3 };
    [me, ada, bea] = [mesh.add("me", works), mesh.add("ada", works), mesh.add("bea", works)];
  });

  it("gives the results of a pipeline wholly here, in order", async () => {
    const run = me.start({ double: "me", plus1: "me" }, [1, 2, 3]);
    expect(await bytes(run)).toEqual([3, 5, 7]);
    expect(await run.receipt).toMatchObject({
      status: "done",
      items_in: 3,
      results_out: 3,
      seqs: { done: 3, filtered: 0, failed: 0 },
      epochs: [{ epoch: 1, placement: { double: ["me"].map(() => "driver"), plus1: ["driver"] } }],
      execution_order: ["double", "plus1"],
      link_bytes: {},
    });
    expect(me.runtime.alive).toBe(0);
  });

  it("sends what workers make from worker to worker", async () => {
    const items = Array.from({ length: 100 }, (_, index) => index);
    const run = me.start({ double: "ada", plus1: "bea" }, items);
    expect(await bytes(run)).toEqual(items.map((item) => item * 2 + 1));
    const receipt = await run.receipt;
    expect(receipt.link_bytes).toEqual({ "driver->ada": 100, "ada->bea": 100, "bea->driver": 100 });
    expect(receipt.node_ms).toMatchObject({ double: { count: 100 }, plus1: { count: 100 } });
    await mesh.lag;
    expect([ada.runtime.alive, bea.runtime.alive, ada.hosting.sites.length]).toEqual([0, 0, 0]);
  });

  it("reports an item error with its peer, and ends with it or goes on", async () => {
    const stopping = me.start({ fail3: "ada" }, [1, 3, 5]);
    await expect(bytes(stopping)).rejects.toThrow("seq 1, node 'fail3' on peer 'ada': it was three");
    expect(await stopping.receipt).toMatchObject({ status: "failed", errors: [{ seq: 1, peer: "ada" }] });
    const seqs: number[] = [];
    const going = me.start({ fail3: "me" }, [1, 3, 5], { onError: "continue", onFailure: ({ seq }) => seqs.push(seq) });
    expect(await bytes(going)).toEqual([1, 5]);
    expect(seqs).toEqual([1]);
    expect((await going.receipt).seqs).toEqual({ done: 2, filtered: 0, failed: 1 });
  });

  it("is cancelled everywhere", async () => {
    const run = me.start({ double: "me", never: "ada" }, [1, 2]);
    setTimeout(() => run.cancel(), 20);
    await expect(bytes(run)).rejects.toThrow("cancelled");
    expect((await run.receipt).status).toBe("cancelled");
    await mesh.lag;
    expect([me.runtime.alive, ada.runtime.alive]).toEqual([0, 0]);
  });

  it("is cancelled by leaving its loop, and by a signal", async () => {
    const left = me.start({ double: "ada" }, [1, 2, 3]);
    for await (const _ of left) break;
    expect((await left.receipt).status).toBe("cancelled");
    const aborted = me.start({ double: "ada" }, [1], { signal: AbortSignal.abort() });
    await expect(bytes(aborted)).rejects.toThrow("cancelled");
  });

  it("ends with the name of a peer that is lost, though its source waits", async () => {
    async function* slow() {
      yield Uint8Array.of(1);
      await new Promise(() => {});
    }
    me.planned = Promise.resolve(chain({ double: "ada" }));
    const run = new Run(me, "manifest", slow());
    me.run = run;
    setTimeout(() => run.lost("ada", "it is silent"), 20);
    await expect(bytes(run)).rejects.toThrow("peer ada was lost: it is silent");
  });

  it("does not start where a worker refuses", async () => {
    me.can = ["watch"];
    await expect(bytes(me.start({ double: "ada" }, [1]))).rejects.toThrow("me's grant does not let it submit runs");
    me.can = ["submit"];
    await expect(bytes(me.start({ other: "ada" }, [1]))).rejects.toThrow("ada does not offer other in wasm");
    await expect(bytes(me.start({ double: "eve" }, [1]))).rejects.toThrow("no link to eve");
  });

  it("passes on why there is no plan", async () => {
    me.planned = Promise.reject(new Error("no peer fits"));
    me.planned.catch(() => {});
    const run = new Run(me, "manifest", []);
    await expect(bytes(run)).rejects.toThrow("no peer fits");
    await expect(run.planned).rejects.toThrow("no peer fits");
    expect((await run.receipt).reason).toBe("no peer fits");
  });

  it("ends with what its items throw", async () => {
    me.planned = Promise.resolve(chain({ double: "me" }));
    const items = (function* () {
      yield Uint8Array.of(1);
      throw new Error("the file ended early");
    })();
    await expect(bytes(new Run(me, "manifest", items))).rejects.toThrow("the file ended early");
  });

  it("tells its progress", async () => {
    const states: string[] = [];
    const run = me.start({ double: "ada" }, [1, 2], { onProgress: ({ state }) => states.push(state) });
    await bytes(run);
    expect([...new Set(states)]).toEqual(["connecting", "loading", "running", "done"]);
  });
});

describe("a fragment that somebody else stops or lets fall", () => {
  it("is stopped by its own driver only, and ends with it", async () => {
    const mesh = new Mesh();
    const [me, ada] = [mesh.add("me", { never }), mesh.add("ada", { never })];
    const run = me.start({ never: "ada" }, [1]);
    void bytes(run).catch(() => {});
    await expect.poll(() => ada.hosting.sites.length).toBe(1);
    await ada.hosting.start(
      { peer: "eve", name: "eve", can: new Set(["submit"]) },
      { type: "START", ...run.key, epoch: 1, body: {} },
    );
    expect(ada.hosting.sites.length).toBe(1);
    ada.hosting.lost("me");
    expect([ada.hosting.sites.length, ada.runtime.alive]).toEqual([0, 0]);
    run.cancel();
  });
});
