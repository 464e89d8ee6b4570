import { expect, test } from "vitest";
import { pathOf, withoutTurn } from "./ice";

test("without TURN only STUN servers are left, and no credentials", () => {
  const servers = [
    { urls: ["turn:a", "stun:b"], username: "u", credential: "c" },
    { urls: "turns:c" },
    { urls: "stuns:d" },
  ];
  expect(withoutTurn(servers)).toEqual([{ urls: ["stun:b"] }, { urls: ["stuns:d"] }]);
});

function report(local: object, remote: object): RTCStatsReport {
  const pair = { type: "candidate-pair", localCandidateId: "l", remoteCandidateId: "r" };
  const transport = { type: "transport", selectedCandidatePairId: "p" };
  return new Map(Object.entries({ l: local, r: remote, p: pair, t: transport })) as unknown as RTCStatsReport;
}

test.each([
  ["host", "host", "direct"],
  ["host", "srflx", "nat"],
  ["prflx", "host", "nat"],
  ["host", "relay", "relay"],
  ["relay", "host", "relay-tcp"],
])("between %s and %s the path is %s", (local, remote, path) => {
  expect(pathOf(report({ candidateType: local, relayProtocol: "tls" }, { candidateType: remote }))).toBe(path);
});

test("a relay reached over UDP, and a connection without a path yet", () => {
  const udp = { candidateType: "relay", relayProtocol: "udp" };
  expect(pathOf(report(udp, { candidateType: "relay" }))).toBe("relay-udp");
  expect(pathOf(new Map([["t", { type: "transport" }]]) as unknown as RTCStatsReport)).toBe("unknown");
});
