/** Fragments that this peer runs for other drivers. Only the driver of a run is obeyed, over its proven link. */

import { LinkError } from "../errors";
import limits from "../generated/limits.json";
import { field, type Message } from "../protocol/messages";
import type { Instruction, Resumption } from "../run/events";
import { type Graph, graphFromValue } from "../run/graph";
import { Placement, type Seat } from "../run/placement";
import type { NodeSpec } from "../runtimes/base";
import { type Runtimes, summaries } from "./host";
import { type Outside, type RunKey, Site } from "./site";

/** The driver as its link proves it. */
export interface Sender {
  peer: string;
  name: string;
  can: ReadonlySet<string>;
}

/** What hosting needs of its peer. */
export interface Home {
  readonly id: string;
  readonly name: string;
  /** Whether nodes run here for others at all. */
  readonly serves: boolean;
  readonly types: ReadonlyMap<string, NodeSpec>;
  readonly runtimes: Runtimes;
  linkTo(peer: string): Promise<void>;
  /** Whether there is a link to a peer that is not silent. */
  hears(peer: string): boolean;
  post(peer: string, message: Message): void;
  /** What calls took here (ms), by node type and runtime. */
  learn(costs: Record<string, Record<string, number>>): void;
}

export type Start = Message & { type: "START" };

interface Hosted {
  site: Site;
  /** What the driver calls each peer, those of earlier epochs included. */
  names: ReadonlyMap<string, string>;
  /** The number of the last move that was prepared. */
  move?: number;
}

/** START makes a site, or a newer one; STOP and the loss of the driver end it. */
export class Hosting implements Outside {
  private readonly runs = new Map<string, Hosted>();

  constructor(private readonly home: Home) {}

  /** The fragments that run here. */
  get sites(): Site[] {
    return Array.from(this.runs.values(), (hosted) => hosted.site);
  }

  /** The site of a run, unless the message is of another epoch or the run is gone: both are ignored. */
  site(key: RunKey, epoch: number): Site | undefined {
    const site = this.runs.get(name(key))?.site;
    return site?.epoch === epoch ? site : undefined;
  }

  /** Answers READY when every node is set up and the neighbours are linked, else REFUSED with the reason. */
  async start(sender: Sender, { driver, run, epoch, body }: Start): Promise<void> {
    const key = { driver, run };
    const refuse = (error: unknown) => {
      const text = (error instanceof Error ? error.message : String(error)).slice(0, limits.MAX_CAUSE_CHARS);
      this.home.post(sender.peer, { type: "REFUSED", driver, run, epoch, text });
    };
    const before = this.runs.get(name(key));
    let site: Site;
    try {
      site = this.makeSite(sender, key, epoch, body);
    } catch (error) {
      return refuse(error);
    }
    this.runs.set(name(key), { site, names: new Map([...(before?.names ?? []), ...readNames(body)]) });
    let linked: boolean[];
    try {
      const neighbours = [...site.placement.neighbours(this.home.id)];
      const linking = Promise.all(neighbours.map((peer) => this.reaches(site, peer)));
      [linked] = await Promise.all([linking, site.host.setup()]);
    } catch (error) {
      if (this.site(key, epoch) === site) this.stop(key);
      return refuse(error);
    }
    const ready = linked.every(Boolean) && this.site(key, epoch) === site; // if not all are linked, the driver plans anew
    if (!ready) return;
    this.home.post(driver, { type: "READY", driver, run, epoch });
    this.tellProgress(site);
  }

  /** As long as the site lives: without it the driver would have to wait for a node that does not get on. */
  private tellProgress(site: Site): void {
    const { key, epoch } = site;
    if (this.site(key, epoch) !== site) return;
    this.home.post(key.driver, { type: "PROGRESS", ...key, epoch, body: site.host.progress() });
    setTimeout(() => this.tellProgress(site), limits.HEARTBEAT_S * 1e3);
  }

  /** Links to a neighbour; where that fails, the driver is told. */
  private async reaches(site: Site, neighbour: string): Promise<boolean> {
    try {
      await this.home.linkTo(neighbour);
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.unreachable(site, neighbour);
      return false;
    }
    if (!this.home.hears(neighbour)) this.tellSilence(site, neighbour, true);
    return true;
  }

  private makeSite(sender: Sender, key: RunKey, epoch: number, body: unknown): Site {
    const { id, name: me, serves, runtimes } = this.home;
    if (key.driver !== sender.peer) throw new Error("only the driver itself starts its run");
    if (!sender.can.has("submit")) throw new Error(`${sender.name}'s grant does not let it submit runs`);
    if (!serves) throw new Error(`${me} runs nodes for itself only`);
    const before = this.runs.get(name(key))?.site;
    if (before !== undefined && before.epoch >= epoch) throw new Error(`run ${key.run} was started already`);
    this.stop(key);
    if (this.runs.size >= limits.MAX_RUNS) throw new Error(`${me} has ${limits.MAX_RUNS} runs already`);
    const graph = graphFromValue(field(body, "graph"));
    const placement = Placement.fromPlan(graph, key.driver, field(body, "plan"));
    this.checkTypes(graph, placement.seats(this.home.id));
    return new Site({
      key,
      epoch,
      graph,
      placement,
      me: id,
      runtimes,
      outside: this,
      resumption: readResumption(body),
      before,
    });
  }

  private checkTypes(graph: Graph, seats: readonly Seat[]): void {
    for (const { node: id, runtime } of seats) {
      const node = graph.nodes.find((each) => each.id === id)!;
      const spec = this.home.types.get(node.node_type);
      if (!spec?.runtimes?.includes(runtime)) {
        throw new Error(`${this.home.name} does not offer ${node.node_type} in ${runtime}`);
      }
      const same = (["arity", "join", "stateful", "finishes"] as const).every((name) => spec[name] === node[name]);
      if (!same) throw new Error(`${this.home.name} has another ${node.node_type} than the driver`);
    }
  }

  // A planned move

  /** Answers STEP when every node is set up and the new neighbours are linked, or with what stands against it. */
  async prepare(key: RunKey, epoch: number, body: unknown): Promise<void> {
    const site = this.site(key, epoch);
    const hosted = this.runs.get(name(key));
    if (site === undefined || hosted === undefined) return;
    const [move, nodes] = [Number(field(body, "move")), field(body, "nodes")];
    site.callOff();
    this.runs.set(name(key), { ...hosted, names: new Map([...hosted.names, ...readNames(body)]), move });
    let fault = "";
    try {
      const { graph } = site;
      const coming = site.propose(nodes);
      this.checkTypes(graph, coming);
      const step = Placement.fromPlan(graph, key.driver, { steps: [{ from_seq: 0, nodes }] });
      const neighbours = [...step.neighbours(this.home.id)];
      await Promise.all([site.host.prepare(coming), ...neighbours.map((peer) => this.home.linkTo(peer))]);
    } catch (error) {
      fault = `${this.home.name}: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (this.runs.get(name(key))?.move === move) this.tell(site, "prepared", fault);
  }

  /** The step that was prepared begins, or does not. */
  cut(key: RunKey, epoch: number, body: unknown): void {
    const site = this.site(key, epoch);
    const since = field(body, "from_seq");
    if (site === undefined) return;
    if (since === null) {
      site.callOff();
      return;
    }
    if (!Number.isSafeInteger(since) || Number(since) < 0) throw new Error("a cut needs from_seq");
    site.cut(Number(since));
    this.tell(site, "cut");
  }

  /** A stateful node goes on here. */
  state(key: RunKey, epoch: number, body: unknown): void {
    const [node, state] = [field(body, "node"), field(body, "state")];
    if (typeof node !== "string" || !(state instanceof Uint8Array)) throw new Error("a state needs node and state");
    this.site(key, epoch)?.takeState(node, state);
  }

  private tell(site: Site, stage: "prepared" | "cut" | "through", fault = ""): void {
    const body = { move: this.runs.get(name(site.key))?.move, stage, fault: fault.slice(0, limits.MAX_CAUSE_CHARS) };
    this.home.post(site.key.driver, { type: "STEP", ...site.key, epoch: site.epoch, body });
  }

  // The end

  /** Answers STATS. */
  stats(key: RunKey): void {
    const hosted = this.runs.get(name(key));
    if (hosted === undefined) return;
    const { site, names } = hosted;
    const body = { since: site.since, nodes: summaries(site.host.times), links: site.linkBytes(names) };
    this.home.post(key.driver, { type: "STATS_REPLY", ...key, body });
  }

  /** Frees everything of a run; nothing happens where there is none. */
  stop(key: RunKey): void {
    const hosted = this.runs.get(name(key));
    if (hosted === undefined) return;
    this.runs.delete(name(key));
    hosted.site.close();
    this.home.learn(hosted.site.host.costs());
  }

  /** A peer is gone: its own runs end here, and those that need it are told to their drivers. */
  lost(peer: string): void {
    for (const site of this.sites) {
      if (site.key.driver === peer) this.stop(site.key);
      else if (site.placement.neighbours(this.home.id).has(peer)) this.unreachable(site, peer);
    }
  }

  /** Nothing is heard of a peer: runs that need it are told to their drivers. */
  suspected(peer: string): void {
    for (const site of this.sites) {
      if (site.placement.neighbours(this.home.id).has(peer)) this.tellSilence(site, peer, true);
    }
  }

  /** A peer is heard, perhaps again. A run that does not need it now may have done so in an earlier epoch. */
  linked(peer: string): void {
    for (const { site, names } of this.runs.values()) {
      if (names.has(peer) && peer !== site.key.driver) this.tellSilence(site, peer, false);
    }
  }

  private tellSilence({ key, epoch }: Site, neighbour: string, silent: boolean): void {
    this.home.post(key.driver, { type: "SILENCE", ...key, epoch, peer: neighbour, silent });
  }

  private unreachable({ key, epoch }: Site, neighbour: string): void {
    this.home.post(key.driver, { type: "UNREACHABLE", ...key, epoch, peer: neighbour });
  }

  close(): void {
    for (const site of this.sites) this.stop(site.key);
  }

  // What a hosted site sends: frames and credit to its neighbours, everything else to the driver

  post(to: string, message: Message): void {
    this.home.post(to, message);
  }

  itemFailed(site: Site, error: Extract<Instruction, { do: "error" }>): void {
    const { seq, node, kind } = error;
    const body = { seq, node, kind, cause: error.cause.slice(0, limits.MAX_CAUSE_CHARS) };
    this.home.post(site.key.driver, { type: "ERROR", ...site.key, epoch: site.epoch, body });
  }

  stateSaved(site: Site, saved: Extract<Instruction, { do: "checkpoint" }>): void {
    const { do: _, ...body } = saved;
    this.home.post(site.key.driver, { type: "CHECKPOINT", ...site.key, epoch: site.epoch, body });
  }

  handedOver(site: Site, { node, state, fault }: Extract<Instruction, { do: "handOver" }>): void {
    this.home.post(site.key.driver, { type: "STATE", ...site.key, epoch: site.epoch, body: { node, state, fault } });
  }

  through(site: Site): void {
    this.tell(site, "through");
  }

  runFailed(site: Site, reason: string): void {
    const text = `${this.home.name}: ${reason}`.slice(0, limits.MAX_CAUSE_CHARS);
    this.home.post(site.key.driver, { type: "FAILED", ...site.key, epoch: site.epoch, text });
  }
}

/** `names` of a START or a PREPARE. */
function readNames(body: unknown): [string, string][] {
  return Object.entries(field(body, "names") ?? {}).map(([peer, called]) => [peer, String(called)]);
}

/** `from_seq` and `states` of a START. */
function readResumption(body: unknown): Resumption {
  const [firstSeq, states] = [field(body, "from_seq"), Object.entries(field(body, "states") ?? {})];
  const read = states.filter((entry): entry is [string, Uint8Array] => entry[1] instanceof Uint8Array);
  if (!Number.isSafeInteger(firstSeq) || Number(firstSeq) < 0 || read.length < states.length) {
    throw new Error("a start needs from_seq and states");
  }
  return { firstSeq: Number(firstSeq), states: new Map(read) };
}

function name({ driver, run }: RunKey): string {
  return `${driver} ${run}`;
}
