"""``mesh signal`` and ``mesh invite``, as a user types them."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import CliRunner, Result

from mesh.cli.signaling import invite
from mesh.errors import SignalingError, ValueFault
from mesh.ids import PeerName
from mesh.protocol.grants import Invite, RoomKeys, verify
from mesh.transport.signaling import SignalingClient
from signaling_server.server import Config, serve


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(invite, arguments)


class TestInvite:
    def test_a_new_room(self, home: Path) -> None:
        done = run("--new-room", "studio", "--server", "https://mesh.example/")
        assert done.exit_code == 0, done.output
        path = home / "remotemedia-mesh" / "rooms" / "studio.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        lines = dict(line.split() for line in done.stdout.splitlines())
        assert list(lines) == ["submit", "work", "watch", "all"]
        made = Invite.parse(lines["work"])
        assert made.server == "https://mesh.example"
        assert made.room == RoomKeys.load(path).room
        assert f"mesh signal --room {made.room}" in done.stderr

    def test_an_invite_of_ones_own_choice(self) -> None:
        run("--new-room", "studio")
        done = run("--room", "studio", "--can", "work", "--can", "watch", "--for", "ana", "--ttl", "30m")
        (line,) = done.stdout.splitlines()
        made = Invite.parse(line)
        claims = {"owner_key": made.owner_key, "room": made.room}
        grant = verify(made.grant, now=0, **claims)
        assert (grant.subject, grant.can) == ("ana", frozenset(("work", "watch")))
        verify(made.grant, now=grant.expires - 1, **claims)

    def test_json(self) -> None:
        done = run("--new-room", "studio", "--json")
        answer = json.loads(done.stdout)
        assert answer["room"].startswith("studio~")
        assert list(answer["invites"]) == ["submit", "work", "watch", "all"]

    def test_new_keys(self) -> None:
        before = json.loads(run("--new-room", "studio", "--json").stdout)["room"]
        again = run("--new-room", "studio")
        assert again.exit_code == 2
        assert "cannot be written" in again.stderr
        after = json.loads(run("--room", "studio", "--rotate", "--json").stdout)["room"]
        assert after != before
        assert json.loads(run("--room", "studio", "--json").stdout)["room"] == after

    def test_a_room_by_its_id(self) -> None:
        room = json.loads(run("--new-room", "studio", "--json").stdout)["room"]
        assert json.loads(run("--room", room, "--json").stdout)["room"] == room

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ((), "name the room"),
            (("--new-room", "a", "--room", "b"), "name the room"),
            (("--new-room", "../x"), "no room name"),
            (("--room", "nobody"), "cannot be read"),
            (("--new-room", "a", "--ttl", "soon"), "--ttl soon"),
            (("--new-room", "a", "--server", "mesh.example"), "invite begins with"),
            (("--new-room", "a", "--can", "admin"), "admin"),
        ],
    )
    def test_usage(self, arguments: tuple[str, ...], text: str) -> None:
        done = run(*arguments)
        assert done.exit_code == 2, done.output
        assert text in done.stderr
        assert done.stdout == ""


class Signal:
    """A ``mesh signal`` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "mesh", "signal", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.stdout: IO[str] = self.process.stdout or sys.stdin

    def ready(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.stdout.readline())
        return answer

    def end(self, number: signal.Signals) -> tuple[int, str]:
        os.kill(self.process.pid, number)
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


@pytest.fixture
def started() -> Iterator[list[Signal]]:
    running: list[Signal] = []
    yield running
    for each in running:
        each.process.kill()
        each.process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_says_where_it_is_and_ends_cleanly(started: list[Signal], number: signal.Signals, code: int) -> None:
    server = Signal("--port", "0", "--json")
    started.append(server)
    line = server.ready()
    assert list(line) == ["url", "dashboard", "invites"]
    assert list(line["invites"]) == ["submit", "work", "watch", "all"]
    assert Invite.parse(line["dashboard"]).room == "demo"
    ended, said = server.end(number)
    assert ended == code
    assert "demo" in said
    assert "Traceback" not in said


def test_signal_keeps_the_demo_room_and_the_denied_grants_in_its_state(started: list[Signal], tmp_path: Path) -> None:
    state = tmp_path / "state"
    keys = set()
    for denied in (("--deny", "a"), ("--deny", "b"), ()):
        server = Signal("--port", "0", "--json", "--state", str(state), *denied)
        started.append(server)
        keys.add(Invite.parse(server.ready()["invites"]["all"]).room_key)
        server.process.kill()
    assert len(keys) == 1
    assert json.loads((state / "denied.json").read_text()) == ["a", "b"]
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()} == {
        "demo.json": 0o600,
        "denied.json": 0o600,
    }
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def foreign(folder: Path) -> str:
    folder.chmod(0o777)
    return "others can write here"


def of_another_room(folder: Path) -> str:
    RoomKeys.make("studio", bytes(64)).save(folder / "demo.json")
    return "these are the keys of room studio~"


def readable(folder: Path) -> str:
    RoomKeys.registered("demo", bytes(64)).save(folder / "demo.json")
    (folder / "demo.json").chmod(0o644)
    return "others can read these keys"


def broken(folder: Path) -> str:
    (folder / "denied.json").write_text("{}")
    return "no list of denied grants"


@pytest.mark.parametrize("spoil", [foreign, of_another_room, readable, broken])
async def test_a_state_of_no_use_is_refused(spoil: Callable[[Path], str], tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    text = spoil(folder)
    with pytest.raises(ValueFault, match=text):
        async with serve(Config(port=0, state=folder)):
            pass


async def test_a_state_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueFault, match="cannot keep a state"):
        async with serve(Config(port=0, state=tmp_path / "file")):
            pass


async def test_a_grant_that_was_denied_before_a_restart_stays_denied(tmp_path: Path) -> None:
    async with serve(Config(port=0, state=tmp_path)) as server:
        invite = Invite.parse(server.invites["all"])
    claims = verify(invite.grant, owner_key=invite.owner_key, room=invite.room, now=0)
    async with serve(Config(port=0, state=tmp_path, denied=frozenset((claims.id,)))):
        pass
    async with serve(Config(port=0, state=tmp_path)) as server:
        late = replace(invite, server=server.url)
        with pytest.raises(SignalingError, match="denied"):
            await SignalingClient(late, name=PeerName("ada"), announce=None).connect()


def test_signal_on_a_port_that_is_taken(started: list[Signal]) -> None:
    first = Signal("--port", "0", "--json")
    started.append(first)
    port = first.ready()["url"].rpartition(":")[2]
    second = Signal("--port", port)
    started.append(second)
    _, said = second.process.communicate(timeout=20)
    assert second.process.returncode == 1
    assert "cannot listen" in said


def test_signal_does_not_open_the_demo_room_to_others(started: list[Signal]) -> None:
    server = Signal("--host", "0.0.0.0", "--port", "0")
    started.append(server)
    _, said = server.process.communicate(timeout=20)
    assert server.process.returncode == 2
    assert "mesh invite --new-room" in said
