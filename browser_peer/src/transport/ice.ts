/** Which ICE servers a connection asks, and by which kind of path its packets travel; as in mesh/transport/ice.py. */

/**
 * `direct`: both under their own addresses; `nat`: through a NAT; `relay`: by the other side's TURN server, else by ours.
 */
export type Path = "direct" | "nat" | "relay" | "relay-udp" | "relay-tcp" | "unknown";

/** The STUN servers among them. */
export function withoutTurn(servers: readonly RTCIceServer[]): RTCIceServer[] {
  return servers
    .map(({ urls }) => ({ urls: [urls].flat().filter((url) => url.startsWith("stun")) }))
    .filter(({ urls }) => urls.length > 0);
}

/** The kind of path of the pair of candidates that a connection uses now. */
export function pathOf(report: RTCStatsReport): Path {
  for (const entry of report.values()) {
    const pair = entry.type === "transport" ? report.get(entry.selectedCandidatePairId) : undefined;
    if (pair === undefined) continue;
    const [local, remote] = [report.get(pair.localCandidateId), report.get(pair.remoteCandidateId)];
    if (local?.candidateType === "relay") return local.relayProtocol === "udp" ? "relay-udp" : "relay-tcp";
    if (remote?.candidateType === "relay") return "relay";
    return local?.candidateType === "host" && remote?.candidateType === "host" ? "direct" : "nat";
  }
  return "unknown";
}
