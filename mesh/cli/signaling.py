"""``mesh signal``: introduce peers to each other. ``mesh invite``: make rooms, and let people in."""

import asyncio
import gc
import json
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import click

from mesh.cli.shell import FAILED, USAGE, ice_option, ice_servers, run_async, say, stop
from mesh.errors import ValueFault
from mesh.protocol.grants import ENTROPY_BYTES, RIGHTS, Invite, RoomKeys
from signaling_server.server import INVITES, Config, Server, serve
from signaling_server.turn import Turn

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.command()
@click.option("--host", default="127.0.0.1", envvar="MESH_HOST", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--room", "rooms", multiple=True, metavar="ROOM", help="Serve this room and no others (repeatable).")
@click.option("--deny", "denied", multiple=True, metavar="ID", help="A withdrawn grant, by its id (repeatable).")
@click.option("--origin", "origins", multiple=True, metavar="URL", help="A site whose pages may connect (repeatable).")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="MESH_STATE",
    help="Folder for what outlives a restart: the demo room's keys, so its invites stay valid, and denied grants.",
)
@click.option("--stun-url", "stun_urls", multiple=True, metavar="stun:HOST:PORT", help="A STUN server (repeatable).")
@click.option(
    "--turn-url",
    "turn_urls",
    multiple=True,
    metavar="turn:HOST:PORT?transport=udp",
    help="A TURN server that has the secret of --turn-secret-file (repeatable: give it with udp and with tcp).",
)
@click.option(
    "--turn-secret-file",
    "turn_secret",
    type=click.Path(path_type=Path),
    envvar="MESH_TURN_SECRET_FILE",
    help="The TURN servers' static-auth-secret: peers get credentials that are good for an hour.",
)
@ice_option
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON on stdout when ready.")
def signal(
    host: str,
    port: int,
    rooms: tuple[str, ...],
    denied: tuple[str, ...],
    origins: tuple[str, ...],
    state: Path | None,
    stun_urls: tuple[str, ...],
    turn_urls: tuple[str, ...],
    turn_secret: Path | None,
    ice_urls: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run a signaling server, with the page and the dashboard, until stopped.

    On loopback it opens a room "demo" by itself. Where others can reach it, it serves the rooms given by --room.
    """
    try:
        config = Config(
            host=host,
            port=port,
            rooms=frozenset(rooms),
            denied=frozenset(denied),
            origins=origins,
            ice_servers=stun(stun_urls) + ice_servers(ice_urls),
            turn=turn(turn_secret, turn_urls),
            state=state,
        )
    except ValueFault as fault:
        stop(USAGE, str(fault))
    # Measured: full collections stall a process with thousands of peers by up to a second.
    gc.set_threshold(2000, 20, 1_000_000)

    async def main() -> int:
        async with listening(config) as server:
            announce(server, config, as_json=as_json)
            await asyncio.Event().wait()
        return 0

    run_async(main)


def stun(urls: Sequence[str]) -> list[dict[str, Any]]:
    """STUN servers in the browsers' form; raises ValueFault."""
    for url in urls:
        if re.fullmatch(r"stuns?:[^\s@/?]+", url) is None:
            raise ValueFault(f"--stun-url {url}: write stun:HOST:PORT")
    return [{"urls": [url]} for url in urls]


def turn(secret: Path | None, urls: Sequence[str]) -> Turn | None:
    """The TURN servers for which peers get credentials; raises ValueFault."""
    if secret is None and not urls:
        return None
    if secret is None or not urls:
        raise ValueFault("--turn-url and --turn-secret-file belong together: a TURN server, and its secret")
    return Turn.read(secret, urls)


@asynccontextmanager
async def listening(config: Config) -> AsyncIterator[Server]:
    """``serve``, where a port that is taken ends the command with a word about it."""
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(serve(config))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            stop(FAILED, f"cannot listen on {config.host}, port {config.port}: {reason}; --port takes another one")
        yield server


def announce(server: Server, config: Config, *, as_json: bool) -> None:
    """Says where the server is, and who may come in."""
    if as_json:
        click.echo(json.dumps({"url": server.url, "dashboard": server.dashboard, "invites": server.invites}))
    say(f"Signaling at {server.url}; Ctrl-C ends it")
    if config.rooms:
        say(f"It serves the rooms {', '.join(sorted(config.rooms))}; their owners hand out invites with mesh invite")
        return
    say("It made the open room demo: whoever can use this machine can join it")
    if as_json:
        return
    say("Invites, good for 24 hours:")
    for name, url in server.invites.items():
        say(f"  {name:<7}{url}")
    say(f"  watch in a browser: {server.dashboard}")


@click.command()
@click.option("--new-room", metavar="NAME", help="Make a room of that name and its keys.")
@click.option("--room", metavar="NAME", help="A room made before.")
@click.option("--rotate", is_flag=True, help="Replace the keys of --room: every invite of before is void.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="MESH_KEYS",
    help="File of the room's keys; by default NAME.json in the folder for settings.",
)
@click.option(
    "--server",
    default="http://127.0.0.1:8080",
    envvar="MESH_SERVER",
    show_default=True,
    metavar="URL",
    help="Where the room's signaling server is.",
)
@click.option(
    "--can",
    multiple=True,
    type=click.Choice(RIGHTS),
    help="What it allows (repeatable); one invite for each by default.",
)
@click.option("--for", "subject", default="anyone", show_default=True, metavar="NAME", help="Whom the invite is for.")
@click.option("--ttl", default="24h", show_default=True, metavar="TIME", help="How long it lets in: 90s, 30m, 24h, 7d.")
@click.option("--json", "as_json", is_flag=True, help="Print {room, invites} as JSON.")
def invite(
    new_room: str | None,
    room: str | None,
    rotate: bool,
    keys: Path | None,
    server: str,
    can: tuple[str, ...],
    subject: str,
    ttl: str,
    as_json: bool,
) -> None:
    """Make a room, or an invite to one: a URL that lets a peer in.

    The room's keys stay on this machine. The server needs nothing but the room's id: mesh signal --room ROOM.
    """
    if (new_room is None) == (room is None):
        stop(USAGE, "name the room: --new-room NAME makes one, --room NAME takes one made before")
    label = new_room or room or ""
    path = keys or settings() / "rooms" / f"{label.partition('~')[0]}.json"
    try:
        owner = make_keys(label, path, replace=rotate) if new_room or rotate else RoomKeys.load(path)
        wanted = {"invite": can} if can else INVITES
        minting: dict[str, Any] = {"server": server.rstrip("/"), "subject": subject, "ttl_s": seconds(ttl)}
        made = {name: owner.invite(can=rights, now=time.time(), **minting).url for name, rights in wanted.items()}
        invites = {name: Invite.parse(url).url for name, url in made.items()}  # says what is wrong with --server
    except ValueFault as fault:
        stop(USAGE, str(fault))
    if new_room or rotate:
        say(f"Room {owner.room}; its keys are in {path}. Serve it with: mesh signal --room {owner.room}")
    if as_json:
        click.echo(json.dumps({"room": owner.room, "invites": invites}))
    else:
        for name, url in invites.items():
            click.echo(url if can else f"{name:<7}{url}")


def make_keys(label: str, path: Path, *, replace: bool) -> RoomKeys:
    """New keys, in a file of their own; raises ValueFault where there is one, unless it is to be replaced."""
    made = RoomKeys.make(label.partition("~")[0], secrets.token_bytes(ENTROPY_BYTES))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if replace:
        path.unlink(missing_ok=True)
    made.save(path)
    return made


def settings() -> Path:
    """Where this person's keys are kept."""
    return Path(click.get_app_dir("remotemedia-mesh"))


def seconds(text: str) -> float:
    """``90s``, ``30m``, ``24h``, ``7d`` in seconds; raises ValueFault."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if match is None:
        raise ValueFault(f"--ttl {text}: write a number and s, m, h or d, for example 24h")
    return int(match[1]) * UNITS[match[2]]
