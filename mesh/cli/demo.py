"""``mesh demo``: a whole mesh on this machine, to look at."""

import asyncio
import os
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

import mesh
from mesh.cli.shell import FAILED, run_async, say
from mesh.cli.signaling import listening
from mesh.errors import MeshError
from mesh.ids import PeerName
from mesh.manifest.yaml_tree import read as read_yaml
from mesh.partitioner import explain
from mesh.peer import Peer
from mesh.values import from_forms, from_json, to_json
from signaling_server.server import Config

WORKERS = ("ada", "bea")
JOIN_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Example:
    """A pipeline of ``examples/``, with places for nodes that would otherwise all stay with the driver."""

    file: str
    pins: Mapping[str, str] = field(default_factory=dict)
    needs: str | None = None  # a node type that only an extra brings

    @property
    def path(self) -> Path:
        return examples_folder() / self.file

    def items(self) -> Iterator[Any]:
        """What the manifest says in ``x-input``, else the lines of the .jsonl file beside it."""
        manifest = from_forms(read_yaml(self.path.read_text(encoding="utf-8")))
        if "x-input" in manifest:
            yield from manifest["x-input"]
            return
        with self.path.with_suffix(".jsonl").open(encoding="utf-8") as lines:
            yield from map(from_json, lines)


EXAMPLES: Final = (
    Example("calculator.yaml", {"multiply": "ada", "add": "bea"}),
    Example("text.yaml"),
    Example("mixed.yaml", {"multiply": "ada", "text": "bea"}),
    Example("speech.yaml", {"recognise": "bea", "text": "ada"}, needs="SpeechToText"),
)


@click.command()
@click.option("--once", is_flag=True, help="Run the pipelines, print what came out and where each node ran, and exit.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port of the page; 0 takes a free one.",
)
def demo(once: bool, port: int) -> None:
    """Start signaling, two workers and the page on this machine, and run the example pipelines through them."""

    async def main() -> int:
        async with listening(Config(host="127.0.0.1", port=0 if once else port)) as server:
            say(f"Signaling at {server.url}, room demo")
            if not once:
                say(f"\nOpen the page:      {server.invites['all']}\nand the dashboard:  {server.dashboard}\n")
            async with workers(server.invites["work"]):
                failures = await run_examples(server.invites["submit"])
                if once:
                    return FAILED if failures else 0
                say(f"\nThat was the command line; the page is at {server.url} until Ctrl-C")
                await asyncio.Event().wait()
        return 0

    run_async(main)


@asynccontextmanager
async def workers(invite: str) -> AsyncIterator[None]:
    """Two worker processes, as ``mesh worker`` starts them; they end with the demo."""
    processes = [await start_worker(name, invite) for name in WORKERS]
    try:
        await asyncio.wait_for(asyncio.gather(*(joined(process) for process in processes)), JOIN_TIMEOUT_S)
        yield
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))


async def start_worker(name: str, invite: str) -> asyncio.subprocess.Process:
    # The invite goes by the environment: arguments can be read by everybody on the machine.
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mesh", "worker", "--name", name, "--label", f"demo={name}", "--json"),
        *("--drain-timeout", "0"),  # with the demo all is over
        env={**os.environ, "MESH_JOIN": invite},
        stdout=asyncio.subprocess.PIPE,
    )


async def joined(process: asyncio.subprocess.Process) -> None:
    """Waits for the line that a worker prints when it is in the room."""
    assert process.stdout is not None
    if not await process.stdout.readline():
        raise MeshError("a worker of the demo ended before it joined; its reason stands above")


async def run_examples(invite: str) -> int:
    """Runs every example; answers how many failed."""
    failures = 0
    async with Peer.join(invite, name=PeerName("demo")) as peer:
        for example in EXAMPLES:
            if example.needs is not None and example.needs not in peer.types:
                click.echo(f"\n{example.file}: left out, for want of pip install 'remotemedia-mesh[speech]'")
                continue
            failures += not await run_example(peer, example)
    return failures


async def run_example(peer: Peer, example: Example) -> bool:
    """Prints the results, and where each node ran and why; answers whether it went well."""
    click.echo(f"\n{example.file}")
    run = peer.run(example.path, example.items(), pins=example.pins)
    try:
        async for result in run:
            click.echo(f"  {to_json(result.value)}")
    except MeshError as error:
        click.echo(f"  failed: {error}")
        return False
    assert run.plan is not None
    click.echo(textwrap.indent(explain(run.plan), "    "))
    return True


def examples_folder() -> Path:
    """``examples/``: beside the package in a checkout, inside it in a wheel."""
    inside = Path(mesh.__file__).parent / "_assets" / "examples"
    return inside if inside.is_dir() else Path(mesh.__file__).parent.parent / "examples"
