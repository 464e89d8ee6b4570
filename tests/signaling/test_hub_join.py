"""Who may join a room, and as whom (docs/wire.md, 6)."""

from typing import Any

import pytest
from signaling_world import START, STUDIO, World, announcement, keys, spec

from mesh.limits import MAX_PEERS_PER_ROOM
from mesh.protocol.grants import RoomKeys, mint, verify


class TestJoin:
    def test_the_challenge_comes_first(self) -> None:
        caller = World().caller()
        assert caller.end.said[0]["type"] == "challenge"
        assert len(bytes.fromhex(caller.end.said[0]["nonce"])) == 32

    def test_nonces_differ(self) -> None:
        world = World()
        assert world.caller().end.said[0]["nonce"] != world.caller().end.said[0]["nonce"]

    def test_who_joins_hears_of_everybody(self) -> None:
        world = World()
        ada = world.peer("ada")
        bea = world.peer("bea", can=["work"])
        joined = bea.end.last("joined")
        assert {record["name"] for record in joined["peers"]} == {"ada", "bea"}
        assert joined["can"] == ["work"]
        digest = joined["peers"][0]["types"]
        assert joined["catalog"] == {digest: [spec()]}
        world.pass_time(0.05)
        assert {record["name"] for record in ada.end.last("presence")["joined"]} == {"ada", "bea"}

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"version": 2}, "bad-version"),
            ({"signature": "00" * 64}, "bad-signature"),
            ({"key": "00" * 32}, "bad-signature"),
            ({"grant": "no.grant.this"}, "bad-grant"),
            ({"room": "other~" + "0" * 32}, "bad-grant"),
            ({"room": "demo"}, "bad-grant"),
            ({"name": "driver"}, "bad-message"),
            ({"name": "a b"}, "bad-message"),
            ({"name": ""}, "bad-message"),
            ({"owner": "zz"}, "bad-message"),
            ({"extra": 1}, "bad-message"),
        ],
    )
    def test_refusals(self, changes: dict[str, Any], code: str) -> None:
        world = World()
        caller = world.caller().join("ada", changes=changes)
        assert (caller.end.last("error")["code"], caller.end.code) == (code, code)
        assert not world.hub.rooms
        assert not world.hub.clients

    def test_a_join_of_another_connection_is_no_good(self) -> None:
        world = World()
        first, second = world.caller(seed=5), world.caller(seed=5)
        second.say(first.joining("ada"))
        assert second.end.code == "bad-signature"

    def test_a_grant_that_expired(self) -> None:
        world = World()
        token = mint(STUDIO.owner, room=STUDIO.room, subject="ada", can=["work"], ttl_s=60, now=world.now - 60)
        caller = world.caller().join("ada", changes={"grant": token})
        assert caller.end.code == "bad-grant"
        assert "expired" in caller.end.last("error")["message"]

    def test_a_grant_of_a_foreign_owner(self) -> None:
        foreign = keys("studio", 2)
        token = mint(foreign.owner, room=STUDIO.room, subject="eve", can=["work"], ttl_s=60, now=START)
        lies = {"grant": token, "owner": foreign.owner_key.hex()}
        assert World().caller().join("eve", changes={"grant": token}).end.code == "bad-grant"
        assert World().caller().join("eve", changes=lies).end.code == "bad-grant"

    def test_a_withdrawn_grant(self) -> None:
        token = World().caller().joining("ada")["grant"]
        grant = verify(token, owner_key=STUDIO.owner_key, room=None, now=START)
        caller = World(denied=frozenset((grant.id,))).caller().join("ada")
        assert caller.end.code == "denied"

    def test_a_room_that_is_not_served(self) -> None:
        world = World(only=frozenset((STUDIO.room,)))
        world.peer("ada")
        assert world.caller().join("bea", room=keys("other", 3)).end.code == "denied"

    def test_a_registered_room_has_one_owner(self) -> None:
        demo = RoomKeys.registered("demo", bytes(range(64)))
        world = World(owners={"demo": demo.owner_key})
        world.peer("ada", room=demo)
        stale = RoomKeys.registered("demo", bytes(range(1, 65)))
        refused = world.caller().join("bea", room=stale)
        assert refused.end.code == "bad-grant"
        assert "new keys" in refused.end.last("error")["message"]

    @pytest.mark.parametrize(("can", "watches"), [(["watch"], False), (["work", "submit"], True)])
    def test_rights_of_joining(self, can: list[str], watches: bool) -> None:
        assert World().caller().join("ada", can=can, watches=watches).end.code == "not-allowed"

    def test_the_first_message_is_a_join(self) -> None:
        caller = World().caller()
        caller.say({"type": "heartbeat"})
        assert caller.end.code == "not-joined"

    def test_nobody_joins_twice(self) -> None:
        ada = World().peer("ada")
        ada.join("ada")
        assert ada.end.code == "bad-message"

    def test_who_never_joins_is_dropped(self) -> None:
        world = World()
        caller = world.caller()
        world.pass_time(5)
        assert caller.end.code == "silent"

    def test_a_full_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert MAX_PEERS_PER_ROOM > 3
        monkeypatch.setattr("signaling_server.room.MAX_PEERS_PER_ROOM", 3)
        world = World()
        for name in "abc":
            world.peer(name)
        assert world.caller().join("d").end.code == "room-full"

    def test_a_registry_that_is_full(self) -> None:
        world = World()
        for number in range(100):
            types = [f"{number}-{i}-" + "x" * 200 for i in range(200)]
            caller = world.caller().join(f"p{number}", announce=announcement(*types))
            if caller.end.closed:
                break
        assert caller.end.code == "room-full"
        assert 20 < number < 40
        for peer in list(world.hub.clients):
            world.hub.disconnect(peer, world.now)
        assert world.hub.rooms[STUDIO.room]._bytes == 0


class TestNames:
    def test_a_second_peer_of_a_name(self) -> None:
        world = World()
        world.peer("ada")
        refused = world.caller().join("ada")
        assert refused.end.code == "name-taken"
        assert len(world.hub.rooms[STUDIO.room].peers) == 1

    def test_the_same_key_takes_over(self) -> None:
        world = World()
        witness = world.peer("bea")
        old = world.caller(seed=77).join("ada")
        world.pass_time(0.1)
        new = world.caller(seed=77).join("ada")
        assert old.end.code == "taken-over"
        old.hang_up()
        world.pass_time(0.1)
        told = witness.end.last("presence")
        assert [record["name"] for record in told["updated"]] == ["ada"]
        assert told["joined"] == told["left"] == []
        witness.say({"type": "relay", "to": new.id, "data": {"kind": "want"}})
        assert new.end.last("relay")["data"] == {"kind": "want"}
        assert not old.end.all("relay")

    def test_the_same_key_may_come_back_with_another_name(self) -> None:
        world = World()
        old = world.caller(seed=77).join("ada")
        world.caller(seed=77).join("eva")
        assert old.end.code == "taken-over"
        world.peer("ada")

    def test_the_same_key_may_not_take_another_peers_name(self) -> None:
        world = World()
        world.peer("bea")
        ada = world.caller(seed=77).join("ada")
        again = world.caller(seed=77).join("bea")
        assert again.end.code == "name-taken"
        assert ada.end.closed is None

    def test_a_name_is_free_again_at_once(self) -> None:
        world = World()
        world.peer("ada").hang_up()
        world.peer("ada")

    def test_rooms_do_not_share_names(self) -> None:
        world = World()
        world.peer("ada")
        world.peer("ada", room=keys("other", 3))

    def test_who_only_watches_needs_no_name_of_its_own(self) -> None:
        world = World()
        world.peer("ada")
        world.peer("ada", watches=True)
        assert len(world.hub.rooms[STUDIO.room].peers) == 1
