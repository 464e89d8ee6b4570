"""``mesh signal`` runs a signaling server; ``mesh invite`` makes rooms and lets peers into them."""

import asyncio
import json
import re
import secrets
import time
from pathlib import Path
from typing import Final

import click

from mesh.cli.shell import FAILED, USAGE, ice_option, ice_servers, run_async, say, stop
from mesh.errors import ValueFault
from mesh.protocol.grants import ENTROPY_BYTES, RIGHTS, RoomKeys
from signaling_server.server import Config, serve

_DURATION: Final = re.compile(r"(\d+)([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.command()
@click.option("--host", default="127.0.0.1", envvar="MESH_HOST", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, envvar="MESH_PORT", show_default=True, type=click.IntRange(0, 65535))
@click.option("--room", "rooms", multiple=True, metavar="NAME~HASH", help="Serve this room (repeatable).")
@click.option("--deny", "denied", multiple=True, metavar="ID", help="Refuse the grant with this id (repeatable).")
@click.option("--origin", "origins", multiple=True, metavar="URL", help="Let pages of this origin join (repeatable).")
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), help="Keep what must survive a restart there."
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
    ice_urls: tuple[str, ...],
    as_json: bool,
) -> None:
    """Introduce peers to each other, plan their runs, and serve the page. Port 0 takes a free one.

    Without --room it serves the open room `demo`, on loopback only, and prints invites to it.
    """
    try:
        config = Config(
            host=host,
            port=port,
            rooms=frozenset(rooms),
            denied=frozenset(denied),
            origins=origins,
            ice_servers=ice_servers(ice_urls),
            state=state,
        )
    except ValueFault as error:
        stop(USAGE, str(error))

    async def main() -> int:
        try:
            async with serve(config) as server:
                if as_json:
                    ready = {"url": server.url, "dashboard": server.dashboard, "invites": server.invites}
                    click.echo(json.dumps(ready))
                say(f"signaling at {server.url}, serving {', '.join(rooms) or 'the open room demo'}; Ctrl-C ends it")
                for name, invite in server.invites.items():
                    say(f"  invite to {name}: {invite}")
                await asyncio.Event().wait()
        except OSError as error:
            say(f"mesh signal: cannot listen on {host} port {port}: {error.strerror or error}; take another --port")
            return FAILED
        return 0

    run_async(main)


def _ttl(_: click.Context, __: click.Parameter, text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise click.BadParameter("write a number and s, m, h or d, for example 15m")
    return int(match[1]) * _SECONDS[match[2]]


@click.command()
@click.option("--new-room", metavar="NAME", help="Make a room: its keys go into the file --keys names.")
@click.option("--rotate", is_flag=True, help="Make new keys for the room in --keys: no old invite is good any more.")
@click.option("--keys", type=click.Path(path_type=Path, dir_okay=False), default=Path("room.json"), show_default=True)
@click.option("--server", metavar="URL", default="http://127.0.0.1:8080", show_default=True, envvar="MESH_SERVER")
@click.option("--can", "rights", multiple=True, type=click.Choice(RIGHTS), help="What it allows (repeatable).")
@click.option("--for", "subject", default="guest", show_default=True, metavar="NAME", help="Whom the grant is for.")
@click.option("--ttl", default="24h", show_default=True, callback=_ttl, metavar="TIME", help="30s, 15m, 24h, 7d.")
def invite(
    new_room: str | None, rotate: bool, keys: Path, server: str, rights: tuple[str, ...], subject: str, ttl: float
) -> None:
    """Print an invite to a room whose keys you hold (by default with every right), or make the room first."""
    try:
        room = _keys(keys, new_room, rotate=rotate)
        made = room.invite(server=server.rstrip("/"), subject=subject, can=rights or RIGHTS, ttl_s=ttl, now=time.time())
    except ValueFault as error:
        stop(USAGE, str(error))
    if new_room is not None or rotate:
        say(f"room {room.room}: its keys are in {keys}; a server serves it with `mesh signal --room {room.room}`")
    click.echo(made.url)


def _keys(path: Path, new_room: str | None, *, rotate: bool) -> RoomKeys:
    if new_room is not None:
        made = RoomKeys.make(new_room, secrets.token_bytes(ENTROPY_BYTES))
        made.save(path)
        return made
    if not path.exists():
        raise ValueFault(
            f"there are no room keys at {path}: make a room with --new-room NAME, or name its file with --keys"
        )
    old = RoomKeys.load(path)
    if not rotate:
        return old
    path.rename(path.with_suffix(path.suffix + ".old"))
    made = RoomKeys.make(old.room.partition("~")[0], secrets.token_bytes(ENTROPY_BYTES))
    made.save(path)
    return made
