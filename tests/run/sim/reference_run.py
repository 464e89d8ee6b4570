"""What a run must come to, evaluated seq by seq and node by node, without credit, frames or concurrency."""

from collections.abc import Collection
from dataclasses import dataclass, field

from imagined_nodes import Outcome, finish, process

from mesh.ids import NodeId
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.values import pack_list, pack_map


@dataclass
class Expected:
    """Results as (seq, part, payload), failures as (seq, node) and counts of seqs, as the driver gives them.

    ``lost``: the nodes that were beyond repair and needed for the last seq here.
    """

    results: list[tuple[int, int, bytes]] = field(default_factory=list)
    failures: set[tuple[int, str]] = field(default_factory=set)
    done: int = 0
    filtered: int = 0
    failed: int = 0
    dropped: int = 0
    lost: set[NodeId] = field(default_factory=set)


@dataclass
class _Output:
    parts: list[bytes] = field(default_factory=list)
    failed: bool = False
    dropped: bool = False

    def given_up(self) -> "_Output":
        """What an edge that drops this makes of it."""
        return _Output(failed=self.failed, dropped=True) if self.parts else self


class Reference:
    """Evaluates a graph of imagined nodes, as it would be in one epoch."""

    def __init__(self, graph: Graph, epoch: int = 1) -> None:
        self.epoch = epoch
        self._graph = graph
        self._nodes = {node.id: node for node in graph.nodes}
        self._states = dict.fromkeys(self._nodes, 0)
        self._broken: set[NodeId] = set()
        self._expected = Expected()
        self.calls: list[tuple[int, NodeId]] = []  # that were made for an input, or to finish
        self._condemned: tuple[int, NodeId] | None = None

    def run(self, items: list[bytes], *, stop: bool, condemned: tuple[int, NodeId] | None = None) -> Expected:
        """Up to and with the first seq that fails, with ``stop``, or for which a broken node is needed.

        ``condemned``: a seq, for a node, that no node is called for.
        """
        self._condemned = condemned
        for seq in range(len(items) + 1):
            final = seq == len(items)
            failed = self.seq(seq, None if final else items[seq], final=final)
            if (failed and stop) or self._expected.lost:
                break
        return self._expected

    def on(self, epoch: int) -> "Reference":
        """Another one, which goes on from here in that epoch, and expects nothing yet."""
        other = Reference(self._graph, epoch)
        other._states, other._broken = dict(self._states), set(self._broken)
        return other

    @property
    def expected(self) -> Expected:
        """What was expected up to here."""
        return self._expected

    @property
    def future(self) -> object:
        """What the seqs to come depend on."""
        return tuple(self._states.items()), frozenset(self._broken)

    def seq(self, seq: int, item: bytes | None, *, final: bool, drops: Collection[Edge] = ()) -> bool:
        """One seq, after those before it, which the edges in ``drops`` give up; answers whether it failed."""
        outputs: dict[NodeId | None, _Output] = {None: _Output([] if item is None else [item])}
        if self._condemned is not None and self._condemned[0] == seq:
            outputs[None] = _Output(failed=True)
            self._expected.failures.add(self._condemned)
        for name in self._graph.order:
            inbound = self._inbound(name, outputs, drops if not final else ())
            outputs[name] = self._node(self._nodes[name], inbound, seq, final=final)
        sinks = self._inbound(None, outputs, ())
        results = self._results(sinks, seq)
        failed = any(each == seq for each, _ in self._expected.failures)
        self._expected.results += [(seq, part, payload) for part, payload in enumerate(results)]
        if not final:
            dropped = not results and not failed and any(output.dropped for output in sinks.values())
            self._expected.failed += failed
            self._expected.dropped += dropped
            self._expected.done += bool(results) and not failed
            self._expected.filtered += not results and not failed and not dropped
        return failed

    def _inbound(
        self, target: NodeId | None, outputs: dict[NodeId | None, _Output], drops: Collection[Edge]
    ) -> dict[Edge, _Output]:
        """What comes to a node, or to the driver, edge by edge."""
        return {
            edge: outputs[edge.source].given_up() if edge in drops else outputs[edge.source]
            for edge in self._graph.edges
            if edge.target == target
        }

    def _results(self, sinks: dict[Edge, _Output], seq: int) -> list[bytes]:
        if len(sinks) == 1:
            return next(iter(sinks.values())).parts
        if any(output.failed for output in sinks.values()):
            return []
        joined = self._joined(sinks, {edge.port for edge in sinks}, seq, None)
        return [] if joined is None else [joined]

    def _node(self, node: GraphNode, inbound: dict[Edge, _Output], seq: int, *, final: bool) -> _Output:
        given = inbound.values()
        made = _Output(failed=any(each.failed for each in given), dropped=any(each.dropped for each in given))
        if node.join:
            joined = None if made.failed or made.dropped else self._joined(inbound, set(node.optional), seq, node.id)
            inputs = [] if joined is None else [joined]
            made.failed = made.failed or (seq, node.id) in self._expected.failures
        else:
            inputs = next(iter(given)).parts
        for payload in inputs:
            if not self._apply(node, process(node, self._states[node.id], payload, self.epoch), made, seq, exact=True):
                return made
        if final and node.finishes and not made.failed:
            self._apply(node, finish(node, self._states[node.id]), made, seq, exact=False)
        return made

    def _refuses(self, node: GraphNode, outcome: Outcome, count: int, *, exact: bool) -> bool:
        """Whether the call fails without any part: the node is broken, or breaks its arity."""
        if node.id in self._broken:
            self._expected.lost.add(node.id)
            return True
        if outcome.error or node.arity == "many":
            return False
        return count > 1 or (node.arity == "one" and count == 0 and exact)

    def _apply(self, node: GraphNode, outcome: Outcome, made: _Output, seq: int, *, exact: bool) -> bool:
        self._states[node.id] = outcome.state
        self.calls.append((seq, node.id))
        refused = self._refuses(node, outcome, len(outcome.parts), exact=exact)
        if not refused:
            made.parts += outcome.parts
        if outcome.error or refused:
            if outcome.error in ("trapped", "timeout") and node.stateful and not node.snapshots:
                self._broken.add(node.id)
            self._expected.failures.add((seq, node.id))
            made.failed = True
            return False
        return True

    def _joined(self, inbound: dict[Edge, _Output], optional: set[str], seq: int, node: str | None) -> bytes | None:
        refused = [edge for edge, output in inbound.items() if len(output.parts) > 1 and not edge.is_list]
        if refused:  # possible in the extra seq of finish only
            self._expected.failures |= {(seq, node or edge.port) for edge in refused}
            return None
        entries = [
            (edge.port, pack_list(output.parts) if edge.is_list else output.parts[0])
            for edge, output in inbound.items()
            if output.parts
        ]
        present = {port for port, _ in entries}
        if not entries or any(edge.port not in present | optional for edge in inbound):
            return None
        return pack_map(entries)
