"""Plans on request: what the hub knows of a room, turned into a call of ``mesh.partitioner``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesh.ids import PeerId
from mesh.nodes.spec import RuntimeName
from mesh.partitioner.service import answer_plan
from signaling_server.client import Client
from signaling_server.messages import Types

type Record = tuple[bytes, Types | None]  # as in the registry, and the node types that its digest stands for


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A plan that a client asked for, with all that it takes to make it; pass ``answer()`` to ``Hub.planned``."""

    client: Client
    id: int
    manifest: str
    pins: Mapping[str, str]
    without: Sequence[str]
    apart: Sequence[tuple[str, str]]
    driver: Record
    records: Sequence[Record]
    links: Mapping[tuple[PeerId, PeerId], Mapping[str, Any]]
    costs: Mapping[str, Mapping[tuple[PeerId, RuntimeName], float]]

    def answer(self) -> dict[str, Any]:
        """``{graph, plan}``, ``{faults}`` or ``{refused}`` (docs/wire.md, 6). Touches nothing that the hub changes, so
        it may run in a thread.
        """
        catalog = {types: json.loads(types.json) for _, types in (self.driver, *self.records) if types is not None}

        def whole(record: Record) -> dict[str, Any]:
            return {**json.loads(record[0]), "types": catalog[record[1]] if record[1] is not None else []}

        return answer_plan(
            {"manifest": self.manifest, "pins": self.pins, "without": self.without, "apart": self.apart},
            records=[whole(record) for record in self.records],
            driver=whole(self.driver),
            links=self.links,
            costs=self.costs,
        )
