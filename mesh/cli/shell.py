"""What every command shares: options, exit codes, signals, and where words go."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from mesh.errors import ManifestError, MeshError, SignalingError, ValueFault

FAILED: Final = 1
USAGE: Final = 2

nodes_option = click.option(
    "--nodes",
    "node_sources",
    multiple=True,
    metavar="FILE.py|FILE.wasm|MODULE",
    envvar="MESH_NODES",
    help="Load nodes from a Python file, a WebAssembly file or a Python module (repeatable).",
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "aiortc", "wrtc"]),
    default="auto",
    envvar="MESH_ENGINE",
    show_default=True,
    help="WebRTC engine; auto takes wrtc where it is installed.",
)
ice_option = click.option(
    "--ice-server",
    "ice_urls",
    multiple=True,
    metavar="URL",
    envvar="MESH_ICE_SERVER",
    help="A STUN or TURN server more (repeatable): stun:HOST:PORT, or turn:USER:PASSWORD@HOST:PORT.",
)


def join_option(*, required: bool) -> Callable[..., Any]:
    return click.option(
        "--join",
        "invite",
        required=required,
        metavar="INVITE",
        envvar="MESH_JOIN",
        help="The invite URL of a room (MESH_JOIN keeps it out of the process list).",
    )


def say(text: str) -> None:
    """One line for the person, on stderr."""
    click.echo(text, err=True)


def stop(code: int, text: str) -> NoReturn:
    """Ends the command with a message and an exit code."""
    say(f"mesh {click.get_current_context().info_name}: {text}")
    raise SystemExit(code)


def ice_servers(urls: tuple[str, ...]) -> list[dict[str, Any]]:
    """Command-line URLs in the browsers' form; credentials stand before the host."""
    servers: list[dict[str, Any]] = []
    for url in urls:
        scheme, _, rest = url.partition(":")
        if scheme not in ("stun", "stuns", "turn", "turns") or not rest:
            stop(USAGE, f"--ice-server {url}: write stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT")
        credentials, at, host = rest.rpartition("@")
        server: dict[str, Any] = {"urls": [f"{scheme}:{host}"]}
        if at:
            server["username"], _, server["credential"] = credentials.partition(":")
        servers.append(server)
    return servers


def read(file: Path) -> str:
    """The text of a manifest; an unreadable file ends the command."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        stop(USAGE, f"{file}: cannot be read: {error}")


def run_async(main: Callable[[], Coroutine[Any, Any, int]], *, asked: asyncio.Event | None = None) -> NoReturn:
    """Runs ``main`` to its exit code. SIGINT and SIGTERM cancel it, so that it can clean up, and end in 130 and 143.

    With ``asked`` they only set that, and ``main`` ends by itself. A second signal ends everything at once.
    """
    caught: list[int] = []

    async def guarded() -> int:
        task = asyncio.ensure_future(main())
        loop = asyncio.get_running_loop()

        def on_signal(number: int) -> None:
            if caught:  # asked twice: now
                raise SystemExit(128 + number)
            caught.append(number)
            if asked is not None:
                asked.set()
            else:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal, number)
        return await task

    try:
        code = asyncio.run(guarded())
    except asyncio.CancelledError:
        code = 128 + caught[0] if caught else FAILED
    except ManifestError as error:
        code = USAGE
        for fault in error.faults:
            say(str(fault))
    except ValueFault as error:
        code = USAGE
        say(str(error))
    except SignalingError as error:
        code = FAILED
        say(f"signaling: {error}")
    except MeshError as error:
        code = FAILED
        say(str(error))
    except BrokenPipeError:  # the reader of our stdout has gone, as `mesh run | head` does
        code = 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(code)
