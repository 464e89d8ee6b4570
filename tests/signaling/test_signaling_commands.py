"""``mesh signal`` and ``mesh invite``, as a user types them."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import CliRunner, Result

from mesh.cli.signaling import invite
from mesh.protocol.grants import Invite, RoomKeys, verify


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


def test_signal_keeps_the_demo_room_in_its_state(started: list[Signal], tmp_path: Path) -> None:
    keys = set()
    for _ in range(2):
        server = Signal("--port", "0", "--json", "--state", str(tmp_path / "state"))
        started.append(server)
        keys.add(Invite.parse(server.ready()["invites"]["all"]).room_key)
        server.end(signal.SIGTERM)
    assert len(keys) == 1


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
