import { beforeEach, describe, expect, it } from "vitest";
import { NodeError } from "../../runtimes/base";
import { bytes, Mesh, type Peer, type Work } from "./testing";

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

  it("does not start where a worker refuses", async () => {
    me.can = ["watch"];
    await expect(bytes(me.start({ double: "ada" }, [1]))).rejects.toThrow("me's grant does not let it submit runs");
    me.can = ["submit"];
    await expect(bytes(me.start({ other: "ada" }, [1]))).rejects.toThrow("ada does not offer other in wasm");
  });

  it("passes on why there is no plan", async () => {
    const run = me.start({ double: "eve" }, []);
    await expect(bytes(run)).rejects.toThrow("nobody can run double");
    await expect(run.planned).rejects.toThrow("nobody can run double");
    expect((await run.receipt).reason).toBe("nobody can run double");
  });

  it("ends with what its items throw", async () => {
    const items = (function* () {
      yield Uint8Array.of(1);
      throw new Error("the file ended early");
    })();
    await expect(bytes(me.start({ double: "me" }, items))).rejects.toThrow("the file ended early");
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
