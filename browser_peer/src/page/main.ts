/** The page of a room: this tab joins as a peer, serves nodes where its grant says so, and drives runs. */

import "./page.css";
import { Peer } from "../peer/peer";
import { start } from "./start";

void start((invite) => Peer.join(invite));
