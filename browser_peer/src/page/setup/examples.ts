/** The pipelines of examples/, put into the bundle by the plugin in vite.config.ts. */

import bundled from "virtual:examples";

export interface Example {
  /** Of its file, without the ending. */
  name: string;
  title: string;
  /** The manifest as it is written. */
  text: string;
  /** Its `x-input`, as a JSON array. */
  input: string | null;
  /** Address of its items, one JSON value a line, for those too large to be typed. */
  items: string | null;
}

export const examples: readonly Example[] = bundled;
