"""A real tab in a room, with the built library as any page would use it, and the pipelines that tests give it."""

import json
import sys
from itertools import pairwise
from typing import Any

from playwright.sync_api import Page
from processes import until

# What the tests say to the tab. `start` answers at once, `outcome` waits for the end of that run.
SCRIPT = """
    const mesh = await import('/mesh.js');
    let peer, run, results, gathered, began, times;
    const told = ({ name, message, faults, refusals }) => ({ error: name, message, faults, refusals });
    globalThis.tab = {
        async join(invite, options) {
            began = performance.now();
            peer = await mesh.Peer.join(invite, options);
            return { id: peer.id, name: peer.name, types: [...peer.types.keys()] };
        },
        start(manifest, items, options) {
            const failures = [];
            const onFailure = (failure) => failures.push(failure);
            run = peer.run(manifest, items.map(mesh.fromJson), { ...options, onFailure });
            gathered = [];
            times = [];
            results = (async () => {
                let error;
                try {
                    for await (const { payload } of run) {
                        times.push(performance.now() - began);
                        gathered.push(mesh.toJson(payload));
                    }
                } catch (caught) { error = told(caught); }
                return { results: gathered, failures, ...error, times_ms: times, receipt: await run.receipt };
            })();
        },
        count: () => gathered.length,
        outcome: () => results,
        cancel: () => run.cancel(),
        plan: (manifest, pins) => peer.plan(manifest, pins).catch(told),
        peers: () => [...peer.peers.values()].map(({ name }) => name),
        links: () => [...peer.links.values()],
        leave: () => peer.close(),
    };
"""


class Tab:
    """A tab in a room."""

    def __init__(self, page: Page, url: str, invite: str, **options: Any) -> None:
        self.page = page
        page.on("console", lambda message: print(message.text, file=sys.stderr))
        page.goto(f"{url}/healthz")  # a page of the server that joins nothing by itself
        page.evaluate(f"async () => {{ {SCRIPT} }}")
        self.joined = self.do("join", invite, options)

    def do(self, name: str, *arguments: Any) -> Any:
        return self.page.evaluate("([name, args]) => tab[name](...args)", [name, list(arguments)])

    def start(self, manifest: str | dict[str, Any], items: list[Any], **options: Any) -> None:
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        self.do("start", text, [json.dumps(item) for item in items], options)

    def run(self, manifest: str | dict[str, Any], items: list[Any], **options: Any) -> dict[str, Any]:
        self.start(manifest, items, **options)
        outcome: dict[str, Any] = self.do("outcome")
        outcome["results"] = [json.loads(result) for result in outcome["results"]]
        return outcome

    def sees(self, *names: str) -> None:
        until(lambda: set(names) <= set(self.do("peers")))


def pipeline(*nodes: dict[str, Any]) -> dict[str, Any]:
    """A chain; a node is ``{id, node_type, …}``."""
    connections = [{"from": a["id"], "to": b["id"]} for a, b in pairwise(nodes)]
    return {"version": "v1", "nodes": list(nodes), "connections": connections}


def node(name: str, node_type: str, placement: dict[str, str] | None = None, **params: Any) -> dict[str, Any]:
    return {"id": name, "node_type": node_type, "params": params, "placement": placement or {}}
