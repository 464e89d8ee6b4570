/** The status line: signaling, peers and links; and Python while it loads for this tab. */

import type { PeerApi } from "../peer/types";
import { h, say } from "../ui/dom";
import { bytes, plural } from "../ui/numbers";

export class StatusLine {
  readonly element: HTMLElement;
  #signaling = h("span", { role: "status" }, "Signaling connected");
  #mesh = h("span");
  #loading = h("span", { class: "spread", hidden: true });
  #words = h("span");
  #meter = h("span", { class: "meter" }, h("i"));
  #awaySince = 0;

  constructor(private readonly peer: PeerApi) {
    this.#loading.append(this.#words, this.#meter);
    this.element = h("footer", { class: "status" }, this.#signaling, this.#mesh, this.#loading);
    peer.addEventListener("signaling", (event) => this.#showSignaling((event as CustomEvent<string>).detail));
    peer.addEventListener("pyodide", (event) => this.#showLoading((event as CustomEvent).detail));
    for (const type of ["peers", "links"]) peer.addEventListener(type, () => this.#showMesh());
    setInterval(() => this.#awaySince > 0 && this.#showAway(), 1000);
    this.#showMesh();
  }

  #showMesh(): void {
    const links = [...this.peer.links.values()];
    const relayed = links.filter((link) => link.path.startsWith("relay")).length;
    const peers = new Set([...this.peer.peers.keys(), this.peer.id]).size;
    const words = [plural(peers, "peer"), plural(links.length - relayed, "direct link")];
    if (relayed > 0) words.push(plural(relayed, "relay"));
    say(this.#mesh, words.join(", "));
  }

  #showSignaling(state: string): void {
    this.#awaySince = state === "away" ? Date.now() : 0;
    if (state === "away") this.#showAway();
    else say(this.#signaling, "Signaling connected");
  }

  #showAway(): void {
    const seconds = Math.round((Date.now() - this.#awaySince) / 1000);
    say(this.#signaling, `Signaling away for ${seconds} s; runs go on, nobody new can join`);
  }

  #showLoading(progress: { state: string; loaded: number; total: number }): void {
    const done = progress.state !== "loading";
    this.#loading.hidden = done;
    if (done) return;
    const of = progress.total > 0 ? ` of ${bytes(progress.total)}` : "";
    say(this.#words, `Python for this tab is loading, ${bytes(progress.loaded)}${of}`);
    this.#meter.style.setProperty("--share", String(progress.total > 0 ? progress.loaded / progress.total : 0));
  }
}
