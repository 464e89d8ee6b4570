/** The dashboard: watches the room of its invite, and is no peer of it. */

import "./dashboard.css";
import { SignalingError } from "../errors";
import { ownKey, parseInvite } from "../protocol/grants";
import { SignalingClient } from "../transport/signaling";
import { rights, roomOf } from "../ui/invite";
import { start, type Told } from "./start";

async function watch(listener: (told: Told) => void): Promise<void> {
  const key = await ownKey(sessionStorage);
  const client = new SignalingClient(await parseInvite(location.href), {
    name: `dashboard-${key.id.slice(0, 6)}`,
    key,
    announce: null,
    onPresence: (joined, updated, left) => listener({ type: "presence", joined, updated, left }),
    onState: (state) => listener({ type: "signaling", state }),
    onRefused: ({ message }) => listener({ type: "refused", message }),
  });
  await client.connect().catch((error: unknown) => {
    if (!(error instanceof SignalingError) || error.code !== "not-allowed") throw error;
    throw new Error(
      `This invite allows ${rights(location).join(" and ")}; a dashboard needs one that allows to watch.`,
    );
  });
  client.watch(listener);
}

void start(roomOf(location), watch);
