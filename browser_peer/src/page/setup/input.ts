/** What goes into the run: a JSON array that is typed, an audio file, or the items that come with the example. */

import { h, put } from "../../ui/dom";
import { icon } from "../../ui/icons";
import { bytes, plural } from "../../ui/numbers";
import { encode, fromJson, itemsFromJson } from "../../values";
import type { Example } from "./examples";

type Source = "json" | "file" | "sample";

const WORDS: Record<Source, string> = { json: "JSON", file: "WAV file", sample: "Sample" };
const ICONS = { json: "workflow", file: "fileAudio", sample: "play" } as const;
/** A message carries at most this much; a longer recording is cut into several files. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;

export class Input {
  readonly element = h("div", { class: "input" });
  #field = h("input", {
    class: "field mono json",
    "aria-label": "Items, a JSON array",
    spellcheck: "false",
    autocomplete: "off",
    on: { input: () => this.complain("") },
  });
  #picker = h("input", { type: "file", hidden: true, accept: "audio/wav,.wav", on: { change: () => this.#picked() } });
  #problem = h("p", { class: "problem small danger", role: "alert", hidden: true });
  #source: Source = "json";
  #sources: Source[] = ["json"];
  #file: File | null = null;
  #example: Example | null = null;

  constructor(private readonly onChange: () => void) {
    this.#draw();
  }

  /** `takesBytes`: the source nodes accept a file's bytes. Redraws only what changed: somebody may be typing. */
  offer(example: Example | null, takesBytes: boolean): void {
    const sources = possible(example, takesBytes);
    const same = example === this.#example && sources.join() === this.#sources.join();
    if (same) return;
    if (example !== this.#example) {
      this.#field.value = example?.input ?? this.#field.value;
      this.#source = sources[0]!;
    }
    if (!sources.includes(this.#source)) this.#source = sources[0]!;
    this.#example = example;
    this.#sources = sources;
    this.complain("");
    this.#draw();
  }

  /** The name and the content of the source, for the graph. */
  describe(): { name: string; detail: string } {
    if (this.#source === "file") return { name: "file", detail: this.#file ? bytes(this.#file.size) : "none yet" };
    return this.#source === "sample" ? { name: "sample", detail: "" } : { name: "items", detail: "JSON" };
  }

  /** The items, encoded. Rejects with the fault of what was typed or chosen. */
  async items(): Promise<Uint8Array[]> {
    if (this.#source === "json") return itemsFromJson(this.#field.value);
    if (this.#source === "sample") return sampleItems(this.#example!.items!);
    if (!this.#file) throw new Error("Choose a WAV file first");
    return [encode(new Uint8Array(await this.#file.arrayBuffer()))];
  }

  complain(message: string): void {
    this.#problem.textContent = message;
    this.#problem.hidden = message === "";
    this.#field.setAttribute("aria-invalid", String(message !== ""));
  }

  /** Takes a file that was dropped on the page. */
  take(file: File): void {
    const fits = this.#sources.includes("file") && file.size <= MAX_FILE_BYTES;
    if (fits) {
      this.#file = file;
      this.#source = "file";
    }
    this.#draw();
    this.complain(fits ? "" : `This pipeline takes no file, or none above ${bytes(MAX_FILE_BYTES)}`);
  }

  #picked(): void {
    const file = this.#picker.files?.[0];
    if (file) this.take(file);
  }

  #choose(source: Source): void {
    this.#source = source;
    this.complain("");
    this.#draw();
    if (source === "file" && !this.#file) this.#picker.click();
  }

  #draw(): void {
    const buttons = this.#sources.map((source) =>
      h(
        "button",
        { type: "button", "aria-pressed": String(source === this.#source), on: { click: () => this.#choose(source) } },
        icon(ICONS[source]),
        WORDS[source],
      ),
    );
    const choice =
      buttons.length > 1 ? h("div", { class: "segments", role: "group", "aria-label": "Input" }, ...buttons) : null;
    put(this.element, choice, this.#detail(), this.#picker, this.#problem);
    this.onChange();
  }

  #detail(): HTMLElement {
    if (this.#source === "json") return this.#field;
    if (this.#source === "sample") return h("span", { class: "muted" }, "five sentences of a LibriVox recording");
    const label = this.#file ? `${this.#file.name}, ${bytes(this.#file.size)}` : "Choose a file";
    return h("button", { class: "button quiet", type: "button", on: { click: () => this.#picker.click() } }, label);
  }
}

function possible(example: Example | null, takesBytes: boolean): Source[] {
  const sources: Source[] = [];
  if (example?.items) sources.push("sample");
  if (takesBytes || example?.items) sources.push("file");
  if (!example?.items) sources.push("json");
  return sources;
}

async function sampleItems(address: string): Promise<Uint8Array[]> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`The sample did not load: ${response.status}`);
  const lines = (await response.text()).split("\n").filter((line) => line.trim() !== "");
  if (lines.length === 0) throw new Error(`The sample has ${plural(0, "item")}`);
  return lines.map((line) => fromJson(line));
}
