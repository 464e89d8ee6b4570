"""Grants, invites, room keys and join signatures, by the shared vectors and by what a person gets wrong."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesh.errors import ProtocolError, ValueFault
from mesh.ids import peer_id
from mesh.protocol import grants
from mesh.protocol.grants import Invite, RoomKeys, mint, owns, room_id, sign_join, verify, verify_join

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "grants.json").read_text())
KEYS = RoomKeys.make("studio", bytes.fromhex(VECTORS["entropy"]))
NOW = VECTORS["now"]


def by_about(vector: dict[str, Any]) -> str:
    return str(vector["about"])


def test_room_id_embeds_its_owner() -> None:
    assert VECTORS["room"] == KEYS.room == room_id("studio", KEYS.owner_key)
    assert KEYS.owner_key.hex() == VECTORS["owner_key"]
    assert owns(KEYS.owner_key, KEYS.room)
    assert not owns(bytes(32), KEYS.room)
    assert not owns(KEYS.owner_key, "studio")


@pytest.mark.parametrize("label", ["", "a~b", "../x", "x" * 32, ".x", "a b"])
def test_a_room_name_that_is_none(label: str) -> None:
    with pytest.raises(ValueFault, match="is no room name"):
        room_id(label, KEYS.owner_key)


@pytest.mark.parametrize("vector", VECTORS["grants"], ids=by_about)
def test_mint_and_verify(vector: dict[str, Any]) -> None:
    token = mint(
        KEYS.owner, room=KEYS.room, subject=vector["subject"], can=vector["can"], ttl_s=vector["ttl_s"], now=NOW
    )
    assert token == vector["token"]
    grant = verify(token, owner_key=KEYS.owner_key, room=KEYS.room, now=NOW)
    assert (grant.room, grant.subject, sorted(grant.can)) == (KEYS.room, vector["subject"], vector["can"])
    assert (grant.expires, grant.id) == (vector["expires"], vector["id"])


@pytest.mark.parametrize("vector", VECTORS["bad_grants"], ids=by_about)
def test_bad_grants(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        verify(vector["token"], owner_key=KEYS.owner_key, room=vector["room"], now=vector["now"])
    assert caught.value.code == "bad-grant"
    assert vector["text"] in str(caught.value)


def test_an_expired_grant_says_since_when() -> None:
    token = VECTORS["grants"][0]["token"]
    with pytest.raises(ProtocolError, match="expired 2 hours ago; ask the room's owner"):
        verify(token, owner_key=KEYS.owner_key, room=None, now=NOW + 60 + 7200)


@pytest.mark.parametrize(("subject", "can"), [("ana", []), ("ana", ["admin"]), ("", ["work"]), ("x" * 65, ["work"])])
def test_a_grant_that_cannot_be_minted(subject: str, can: list[str]) -> None:
    with pytest.raises(ValueFault):
        mint(KEYS.owner, room=KEYS.room, subject=subject, can=can, ttl_s=60, now=NOW)


@pytest.mark.parametrize("vector", VECTORS["joins"])
def test_join_signatures(vector: dict[str, Any]) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["private_key"]))
    public = bytes.fromhex(vector["public_key"])
    assert sign_join(key, vector["room"], vector["nonce"]) == vector["signature"]
    assert peer_id(public) == vector["peer"]
    assert verify_join(public, vector["room"], vector["nonce"], vector["signature"])
    assert not verify_join(public, vector["room"], "00" * 32, vector["signature"])
    assert not verify_join(public, "demo", vector["nonce"], vector["signature"])
    assert not verify_join(bytes(31), vector["room"], vector["nonce"], vector["signature"])
    assert not verify_join(public, vector["room"], vector["nonce"], "not hex")


@pytest.mark.parametrize("vector", VECTORS["invites"])
def test_invites(vector: dict[str, Any]) -> None:
    invite = Invite.parse(vector["url"])
    assert invite.url == vector["url"]
    assert (invite.server, invite.room, invite.grant) == (vector["server"], vector["room"], vector["grant"])
    assert (invite.room_key.hex(), invite.owner_key.hex()) == (vector["room_key"], vector["owner_key"])
    assert invite.websocket == vector["websocket"]


@pytest.mark.parametrize("vector", VECTORS["dashboards"])
def test_the_address_of_a_dashboard_is_an_invite(vector: dict[str, Any]) -> None:
    invite = Invite.parse(vector["url"])
    assert (invite.server, invite.room, invite.dashboard) == (vector["server"], vector["room"], vector["url"])


@pytest.mark.parametrize("vector", VECTORS["bad_invites"], ids=by_about)
def test_bad_invites(vector: dict[str, Any]) -> None:
    with pytest.raises(ValueFault, match="invite"):
        Invite.parse(vector["url"])


def test_secrets_stay_out_of_the_log() -> None:
    invite = KEYS.invite(server="http://127.0.0.1:1", subject="ana", can=["work"], ttl_s=60, now=NOW)
    assert invite.grant not in repr(invite)
    assert repr(invite.room_key) not in repr(invite)
    assert repr(KEYS.room_key) not in repr(KEYS)


def test_keys_are_saved_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "studio.json"
    KEYS.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = RoomKeys.load(path)
    assert (loaded.room, loaded.room_key, loaded.owner_key) == (KEYS.room, KEYS.room_key, KEYS.owner_key)
    with pytest.raises(ValueFault, match="cannot be written"):
        KEYS.save(path)
    path.chmod(0o644)
    with pytest.raises(ValueFault, match="chmod 600"):
        RoomKeys.load(path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"room": 1, "room_key": "", "owner_private_key": ""}', "[" * 9999]
)
def test_a_file_that_holds_no_keys(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.touch(mode=0o600)
    path.write_text(content)
    with pytest.raises(ValueFault, match=r"keys\.json"):
        RoomKeys.load(path)


def test_keys_of_another_room(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    RoomKeys(grants.room_id("studio", bytes(32)), KEYS.room_key, KEYS.owner).save(path)
    with pytest.raises(ValueFault, match="does not belong to the keys"):
        RoomKeys.load(path)
