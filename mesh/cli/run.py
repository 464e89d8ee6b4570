"""``mesh run``: a pipeline, here or across a room."""

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from mesh.cli.shell import (
    FAILED,
    USAGE,
    engine_option,
    ice_option,
    ice_servers,
    join_option,
    nodes_option,
    read,
    run_async,
    say,
    stop,
)
from mesh.errors import ItemError, ValueFault
from mesh.peer import Peer, Run
from mesh.run.driver import OnError
from mesh.values import from_json, to_json


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option("--input", "input_text", metavar="JSON_ARRAY", help="The items, as a JSON array.")
@click.option(
    "--items",
    "items_path",
    metavar="FILE.jsonl|-",
    help="The items, one JSON value per line; - is stdin.",
)
@join_option(required=False)
@nodes_option
@click.option("--on-error", type=click.Choice(["stop", "continue"]), default="stop", show_default=True)
@click.option(
    "--receipt",
    "receipt_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the run's receipt there, as JSON.",
)
@click.option(
    "--chaos",
    "seed",
    type=int,
    metavar="SEED",
    help="Run over a mesh of its own, disturb it, and fail unless the output is what it is undisturbed.",
)
@ice_option
@engine_option
@click.option("-v", "--verbose", is_flag=True, help="Say on stderr to whom this peer links, by which path.")
def run(
    pipeline: Path,
    input_text: str | None,
    items_path: str | None,
    invite: str | None,
    node_sources: tuple[str, ...],
    on_error: OnError,
    receipt_path: Path | None,
    seed: int | None,
    ice_urls: tuple[str, ...],
    engine: str,
    verbose: bool,
) -> None:
    """Run PIPELINE over items; results come as one JSON value per line.

    Without --join it runs in this process. Exit codes: 0 done; 1 the run failed, no plan fits, or with --on-error
    continue an item failed; 2 usage, an unreadable file, bad JSON or an invalid manifest; 130 after SIGINT, 143 after
    SIGTERM.

    With --chaos it runs twice: undisturbed in this process, then over a mesh of its own on this machine while workers
    are killed and paused, connections cut and the signaling server restarted; SEED chooses what and when. It exits
    with 1 unless both runs give the same, and with 2 where that cannot be promised: an edge with drop_oldest, a node
    that is not deterministic, or one that keeps state and makes no snapshots.
    """
    if (input_text is None) == (items_path is None):
        stop(USAGE, "give the items, either with --input '[1, 2]' or with --items FILE.jsonl (or --items -)")
    items = array_items(input_text) if input_text is not None else line_items(items_path or "-")
    servers = ice_servers(ice_urls)
    failed = report_failure(on_error)
    if seed is not None and invite:
        stop(USAGE, "--chaos runs over a mesh of its own; leave --join (MESH_JOIN) out")

    async def main() -> int:
        manifest = read(pipeline)
        if seed is not None:
            from mesh.cli.chaos import run_under_chaos

            code, receipt = await run_under_chaos(
                manifest, items, seed=seed, nodes=node_sources, on_error=on_error, on_failure=failed, engine=engine
            )
            write_receipt(receipt_path, receipt)
            return code
        if invite:
            log = say if verbose else hush
            peer = Peer.join(invite, nodes=node_sources, engine=engine, ice_servers=servers, log=log)
        else:
            peer = Peer.alone(nodes=node_sources)
        async with peer:
            run = peer.run(manifest, items, on_error=on_error, on_failure=failed)
            try:
                return await print_results(run)
            finally:
                write_receipt(receipt_path, run.receipt)

    run_async(main)


def hush(_text: str) -> None:
    """The log of a run without --verbose."""


def report_failure(on_error: str) -> Callable[[ItemError], None] | None:
    """With ``continue`` failures are told as they come; with ``stop`` the one that ends the run is its error."""
    return (lambda error: say(str(error))) if on_error == "continue" else None


async def print_results(run: Run) -> int:
    """Prints each result as it comes; answers the exit code."""
    async for result in run:
        sys.stdout.write(to_json(result.value) + "\n")
        sys.stdout.flush()
    return FAILED if run.failures else 0


def write_receipt(path: Path | None, receipt: dict[str, Any] | None) -> None:
    """Where one is wanted; a file that cannot be written fails the command, after everything else is done."""
    if path is None or receipt is None:
        return
    try:
        path.write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        stop(FAILED, f"{path}: cannot be written: {error}")


def array_items(text: str) -> Iterator[Any]:
    """The elements of ``--input``."""
    try:
        items = from_json(text)
    except ValueFault as error:
        stop(USAGE, f"--input: {error}")
    if not isinstance(items, list):
        stop(USAGE, "--input: write a JSON array of the items, for example '[5, 7, 3]'")
    return iter(items)


def line_items(path: str) -> AsyncIterator[Any]:
    """The values of a .jsonl file or of stdin, read only as fast as the run takes them."""
    if path != "-" and not Path(path).is_file():
        stop(USAGE, f"--items: there is no file {path}")
    return _read_lines(path)


async def _read_lines(path: str) -> AsyncIterator[Any]:
    name = "stdin" if path == "-" else path
    number = 0
    async for line in _lines(path):
        number += 1
        if not line.strip():
            continue
        try:
            yield from_json(line.decode())
        except (ValueFault, UnicodeDecodeError) as error:
            raise ValueFault(f"{name}, line {number}: {error}") from None


async def _lines(path: str) -> AsyncIterator[bytes]:
    """Lines as they come. A daemon thread reads: a blocked read must not hold up the end of the process."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(64)

    def read() -> None:
        # Not sys.stdin: the end of the process would wait for its lock, which a blocked read holds.
        with suppress(RuntimeError), open(0 if path == "-" else path, "rb", closefd=path != "-") as source:
            for line in source:
                asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()
            asyncio.run_coroutine_threadsafe(queue.put(None), loop).result()

    threading.Thread(target=read, name="items", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line
