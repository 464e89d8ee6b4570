"""Runs in Pyodide, in the module worker: the nodes of the tab by number, and calls to them.

``call`` answers through the worker's ``deliver`` and ``fail``: before it returns where the node does not wait for
anything, else later, after ``suspend``.
"""

import asyncio
from typing import Any

from worker import deliver, fail, suspend

from mesh.errors import MeshError, NodeError
from mesh.nodes import Registry
from mesh.nodes.instance import NodeInstance

_registry = Registry()
_nodes: dict[int, NodeInstance] = {}
_tasks: set[asyncio.Task[None]] = set()


def call(call_id: int, node: int, op: str, *arguments: Any) -> None:
    """Does ``op`` on a node. ``arguments`` are JavaScript's: texts, and byte arrays that become bytes."""
    values = [each if isinstance(each, str) else each.to_bytes() for each in arguments]
    # starts at once, in this very call, and is done already unless the node waits
    task = asyncio.Task(_answer(call_id, node, op, values), loop=asyncio.get_event_loop(), eager_start=True)
    if not task.done():
        suspend(call_id)
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


async def _answer(call_id: int, node: int, op: str, arguments: list[Any]) -> None:
    try:
        parts, more = await _perform(node, op, arguments)
    except MeshError as error:
        fail(call_id, error.kind if isinstance(error, NodeError) else "raised", str(error))
    else:
        deliver(call_id, more, *parts)


async def _perform(node: int, op: str, arguments: list[Any]) -> tuple[list[bytes], bool]:
    if op == "init":
        node_type, params = arguments
        made = NodeInstance(_registry.get(node_type), params)
        await made.setup()
        _nodes[node] = made
        return [], False
    instance = _nodes.pop(node) if op == "close" else _nodes[node]
    answer = await getattr(instance, op)(*arguments)
    if isinstance(answer, bytes):
        return [answer], False
    return answer or ([], False)
