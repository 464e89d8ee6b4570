"""``mesh worker``: lend this machine to a room."""

import asyncio
import json
import os
import signal

import click

from mesh.cli.shell import (
    FAILED,
    USAGE,
    engine_option,
    ice_option,
    ice_servers,
    join_option,
    nodes_option,
    run_async,
    say,
    stop,
)
from mesh.errors import ValueFault
from mesh.ids import peer_name
from mesh.limits import DRAIN_TIMEOUT_S
from mesh.peer import Machine, Peer


@click.command()
@join_option(required=True)
@click.option("--name", envvar="MESH_NAME", help="Its name in the room; made up from the host's name by default.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="What pipelines can ask for (repeatable).")
@click.option(
    "--cap",
    "caps",
    multiple=True,
    metavar="gpu=TYPE:GB",
    help="A capability, for example gpu=cuda:24 (repeatable).",
)
@nodes_option
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="TYPE",
    help="Offer only this node type (repeatable).",
)
@ice_option
@engine_option
@click.option(
    "--drain-timeout",
    "drain_s",
    type=click.FloatRange(min=0),
    default=DRAIN_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="When stopped, how long it waits for its nodes to be moved to other peers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON on stdout when joined.")
def worker(
    invite: str,
    name: str | None,
    labels: tuple[str, ...],
    caps: tuple[str, ...],
    node_sources: tuple[str, ...],
    allowed: tuple[str, ...],
    ice_urls: tuple[str, ...],
    engine: str,
    drain_s: float,
    as_json: bool,
) -> None:
    """Join the room of an INVITE and run nodes for it, until stopped. No port needs to be open.

    SIGTERM or Ctrl-C: it takes no more nodes, has those that it runs moved to other peers, and ends; a second time:
    it ends at once.
    """
    machine = Machine(gpu=parse_gpu(caps), labels=parse_labels(labels))
    servers = ice_servers(ice_urls)
    try:
        checked = peer_name(name) if name is not None else None
    except ValueFault as error:
        stop(USAGE, f"--name: {error}")

    async def main() -> int:
        peer = Peer.join(
            invite,
            name=checked,
            nodes=node_sources,
            allow=allowed or None,
            machine=machine,
            serve=True,
            engine=engine,
            ice_servers=servers,
            log=say,
        )
        async with peer:
            if "MESH_CHAOS" in os.environ:  # set by mesh run --chaos alone
                asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, peer.cut_links)
            if as_json:
                click.echo(json.dumps({"name": peer.name, "peer": peer.id, "room": peer.room}))
            say(f"{peer.name} joined room {peer.room} and offers {len(peer.types)} node types; Ctrl-C ends it")
            return await serve(peer)

    async def serve(peer: Peer) -> int:
        closed, stopped = asyncio.create_task(peer.wait_closed()), asyncio.create_task(asked.wait())
        await asyncio.wait((closed, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if closed.done():
            await closed
            return FAILED
        closed.cancel()
        if not drain_s:
            return 0
        say(f"{peer.name} drains: it takes no more nodes and waits for its own to be moved, {drain_s:g} s at most")
        try:
            await asyncio.wait_for(peer.drain(), drain_s)
        except TimeoutError:
            say(f"{peer.name} ends with nodes that were not moved")
            return FAILED
        return 0

    asked = asyncio.Event()
    run_async(main, asked=asked)


def parse_labels(labels: tuple[str, ...]) -> dict[str, str]:
    """``k=v`` options as a map."""
    parsed: dict[str, str] = {}
    for label in labels:
        key, equals, value = label.partition("=")
        if not key or not equals:
            stop(USAGE, f"--label {label}: write KEY=VALUE, for example region=eu")
        parsed[key] = value
    return parsed


def parse_gpu(caps: tuple[str, ...]) -> dict[str, object] | None:
    """``gpu=TYPE:GB`` (memory optional) as an announcement has it."""
    gpu: dict[str, object] | None = None
    for cap in caps:
        kind, _, value = cap.partition("=")
        model, _, memory = value.partition(":")
        if kind != "gpu" or not model or (memory and not memory.replace(".", "", 1).isdigit()):
            stop(USAGE, f"--cap {cap}: write gpu=TYPE:GB, for example gpu=cuda:24")
        gpu = {"type": model, **({"memory_gb": float(memory)} if memory else {})}
    return gpu
