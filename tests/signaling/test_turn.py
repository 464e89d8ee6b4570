"""Credentials for TURN servers, and the file with their secret."""

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from click.testing import CliRunner

from mesh.cli.signaling import signal
from mesh.errors import ValueFault
from mesh.limits import TURN_CREDENTIALS_S
from signaling_server.turn import Turn

URLS = ("turn:turn.example:3478?transport=udp", "turns:[2001:db8::1]:5349")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "turn.secret"
    path.touch(mode=0o600)
    path.write_text("north\n")
    return path


def test_credentials_are_those_that_coturn_computes(secret: Path) -> None:
    server = Turn.read(secret, URLS).ice_server("a1b2", 1_800_000_000.7)
    assert server["urls"] == list(URLS)
    assert server["username"] == f"{int(1_800_000_000.7 + TURN_CREDENTIALS_S)}:a1b2"
    mac = hmac.new(b"north", server["username"].encode(), hashlib.sha1).digest()
    assert base64.b64decode(server["credential"]) == mac


def test_the_secret_is_never_shown(secret: Path) -> None:
    assert "north" not in repr(Turn.read(secret, URLS))


def test_a_group_may_read_the_secret(secret: Path) -> None:
    secret.chmod(0o640)  # that of the TURN server, for one
    assert Turn.read(secret, URLS).secret == b"north"


def test_files_that_are_no_secret(secret: Path) -> None:
    with pytest.raises(ValueFault, match="cannot be read: No such file"):
        Turn.read(secret.with_name("nothing"), URLS)
    with pytest.raises(ValueFault, match="cannot be read: Is a directory"):
        Turn.read(secret.parent, URLS)
    secret.chmod(0o644)
    with pytest.raises(ValueFault, match="everybody on this machine can read"):
        Turn.read(secret, URLS)
    secret.chmod(0o600)
    secret.write_text(" \n")
    with pytest.raises(ValueFault, match="is empty"):
        Turn.read(secret, URLS)
    secret.write_text("x" * 2000)
    with pytest.raises(ValueFault, match="at most") as fault:
        Turn.read(secret, URLS)
    assert "xx" not in str(fault.value)


@pytest.mark.parametrize(
    "url", ["", "turn:", "stun:host", "host:3478", "turn:user:password@host", "turn:host:99999999", "turn:host?x=1"]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueFault, match="--turn-url"):
        Turn(urls=(url,), secret=b"north")


def test_the_options_belong_together(secret: Path) -> None:
    for arguments in (["--turn-url", URLS[0]], ["--turn-secret-file", str(secret)], ["--stun-url", "turn:host"]):
        done = CliRunner().invoke(signal, ["--port", "0", *arguments])
        assert done.exit_code == 2, done.output
        assert arguments[0] in done.output
