"""What the peers of a room hear of each other, and say to each other (docs/wire.md, 6)."""

from signaling_world import START, STUDIO, World, announcement, keys, spec

from mesh.limits import MAX_RELAY_BYTES, OUTBOX_BYTES, OUTBOX_MESSAGES
from signaling_server.turn import Turn


class TestPresence:
    def test_changes_are_gathered(self) -> None:
        world = World()
        ada = world.peer("ada")
        world.pass_time(0.1)
        before = len(ada.end.all("presence"))
        for number in range(20):
            world.peer(f"p{number}")
        world.pass_time(0.05)
        assert len(ada.end.all("presence")) == before + 1
        assert len(ada.end.last("presence")["joined"]) == 20

    def test_a_quiet_room_says_nothing(self) -> None:
        world = World()
        ada = world.peer("ada")
        world.pass_time(0.1)
        heard = len(ada.end.said)
        for _ in range(4):
            ada.say({"type": "heartbeat", "load": 0.05})
            world.pass_time(1)
        assert len(ada.end.said) == heard

    def test_types_are_told_once_while_somebody_has_them(self) -> None:
        world = World()
        ada = world.peer("ada")
        world.pass_time(0.1)
        world.peer("bea")
        world.pass_time(0.1)
        assert ada.end.last("presence")["catalog"] == {}
        world.peer("cid", announce=announcement("AddNode"))
        world.pass_time(0.1)
        assert list(ada.end.last("presence")["catalog"].values()) == [[spec("AddNode")]]

    def test_types_are_told_to_one_who_came_while_nobody_had_them(self) -> None:
        world = World()
        cid = world.peer("cid", announce=announcement("AddNode"))
        world.pass_time(0.1)
        cid.hang_up()
        late = world.peer("late")
        world.peer("dan", announce=announcement("AddNode"))
        world.pass_time(0.1)
        assert [spec("AddNode")] in late.end.last("presence")["catalog"].values()

    def test_load_and_visibility(self) -> None:
        world = World()
        ada, bea = world.peer("ada"), world.peer("bea")
        world.pass_time(0.1)
        bea.say({"type": "heartbeat", "load": 0.5, "hidden": True})
        world.pass_time(0.1)
        record = ada.end.last("presence")["updated"][0]
        assert (record["name"], record["load"], record["hidden"]) == ("bea", 0.5, True)

    def test_a_new_announcement_replaces_the_old(self) -> None:
        world = World()
        ada, bea = world.peer("ada"), world.peer("bea")
        world.pass_time(0.1)
        tab = {"kind": "browser", "runtimes": ["pyodide"], "types": [], "pyodide": "ready"}
        bea.say({"type": "announce", "announce": tab})
        world.pass_time(0.1)
        record = ada.end.last("presence")["updated"][0]
        assert (record["kind"], record["pyodide"]) == ("browser", "ready")

    def test_a_closed_socket_is_told_at_once(self) -> None:
        world = World()
        ada, bea = world.peer("ada"), world.peer("bea")
        world.pass_time(0.1)
        bea.hang_up()
        world.pass_time(0.05)
        assert ada.end.last("presence")["left"] == [{"peer": bea.id, "name": "bea", "reason": "closed"}]

    def test_one_who_came_and_went_between_two_tellings(self) -> None:
        world = World()
        ada = world.peer("ada")
        bea = world.peer("bea")
        witness = world.peer("cid")
        bea.hang_up()
        world.pass_time(0.1)
        assert {record["name"] for record in ada.end.last("presence")["joined"]} == {"ada", "cid"}
        assert [gone["name"] for gone in witness.end.last("presence")["left"]] == ["bea"]

    def test_a_silent_peer_is_gone_within_five_seconds(self) -> None:
        world = World()
        ada, bea = world.peer("ada"), world.peer("bea")
        for _ in range(10):
            ada.say({"type": "heartbeat"})
            world.pass_time(0.5)
        assert bea.end.code == "silent"
        assert ada.end.closed is None
        assert ada.end.last("presence")["left"][0]["reason"] == "silent"

    def test_nobody_is_blamed_for_a_server_that_slept(self) -> None:
        world = World()
        ada = world.peer("ada")
        world.now += 3600
        world.pass_time(3)
        assert ada.end.closed is None
        world.now -= 7200
        world.pass_time(3)
        assert ada.end.closed is None
        world.pass_time(2)
        assert ada.end.code == "silent"

    def test_an_empty_room_is_forgotten(self) -> None:
        world = World()
        world.peer("ada").hang_up()
        world.pass_time(0.1)
        assert not world.hub.rooms

    def test_equal_offers_are_one_object(self) -> None:
        world = World()
        assert len({id(world.peer(f"p{number}").client.offer) for number in range(50)}) == 1


class TestRelay:
    def test_order_is_kept(self) -> None:
        world = World()
        ada, bea = world.peer("ada"), world.peer("bea")
        for number in range(100):
            ada.say({"type": "relay", "to": bea.id, "data": {"kind": "candidate", "n": number}})
        relays = bea.end.all("relay")
        assert [relay["data"]["n"] for relay in relays] == list(range(100))
        assert {relay["from"] for relay in relays} == {ada.id}

    def test_nothing_leaves_the_room(self) -> None:
        world = World()
        ada, eve = world.peer("ada"), world.peer("eve", room=keys("other", 3))
        eve.say({"type": "relay", "to": ada.id, "data": {}})
        assert eve.end.last("error")["code"] == "unknown-peer"
        assert not ada.end.all("relay")

    def test_size(self) -> None:
        world = World()
        ada, bea = world.peer("ada"), world.peer("bea")
        fits = {"x": "y" * (MAX_RELAY_BYTES - 8)}
        ada.say({"type": "relay", "to": bea.id, "data": fits})
        ada.say({"type": "relay", "to": bea.id, "data": {**fits, "z": 1}})
        assert len(bea.end.all("relay")) == 1
        assert ada.end.last("error")["code"] == "too-large"
        assert ada.end.closed is None

    def test_who_only_watches_says_nothing_to_peers(self) -> None:
        world = World()
        ada, eve = world.peer("ada"), world.peer("eve", can=["watch"], watches=True)
        eve.say({"type": "relay", "to": ada.id, "data": {}})
        assert eve.end.last("error")["code"] == "not-allowed"
        assert not ada.end.all("relay")

    def test_one_who_does_not_read_is_dropped(self) -> None:
        world = World()
        ada, bea = world.peer("ada"), world.peer("bea")
        bea.end.reading = False
        for _ in range(OUTBOX_MESSAGES):
            ada.say({"type": "relay", "to": bea.id, "data": {}})
        assert bea.end.closed is None
        ada.say({"type": "relay", "to": bea.id, "data": {}})
        assert bea.end.code == "slow"
        assert not bea.client.outbox
        assert world.hub.counters["slow"] == 1
        ada.say({"type": "relay", "to": bea.id, "data": {}})
        assert ada.end.last("error")["code"] == "unknown-peer"

    def test_bytes_are_bounded_too(self) -> None:
        world = World()
        ada, bea = world.peer("ada"), world.peer("bea")
        bea.end.reading = False
        for _ in range(OUTBOX_BYTES // 60_000 + 1):
            ada.say({"type": "relay", "to": bea.id, "data": {"x": "y" * 60_000}})
        assert bea.end.code == "slow"
        assert bea.client.queued <= OUTBOX_BYTES


def test_ice_servers_are_handed_out() -> None:
    servers = [{"urls": ["turn:a:1"], "username": "u", "credential": "c"}]
    ada = World(ice_servers=servers).peer("ada")
    assert ada.end.last("joined")["ice_servers"] == servers
    ada.say({"type": "ice"})
    assert ada.end.last("ice")["ice_servers"] == servers


def test_every_question_is_answered_with_fresh_credentials_for_the_turn_server() -> None:
    turn = Turn(urls=("turn:turn.example",), secret=b"north", credentials_s=60)
    world = World(ice_servers=[{"urls": ["stun:example"]}], turn=turn)
    ada, bob = world.peer("ada"), world.peer("bob")
    given = [ada.end.last("joined")["ice_servers"]]
    world.now += 2
    for each in (ada, bob):
        each.say({"type": "ice"})
        given.append(each.end.last("ice")["ice_servers"])
    assert [servers[0] for servers in given] == 3 * [{"urls": ["stun:example"]}]
    expected = [f"{int(START) + 60}:{ada.id}", f"{int(START) + 62}:{ada.id}", f"{int(START) + 62}:{bob.id}"]
    assert [servers[1]["username"] for servers in given] == expected
    assert given[1][1] == turn.ice_server(ada.id, world.now)


def test_a_room_of_its_own_kind() -> None:
    world = World()
    world.peer("ada")
    world.peer("eve", room=keys("studio", 2))
    assert len(world.hub.rooms) == 2
    assert STUDIO.room in world.hub.rooms


def test_one_who_is_slow_and_wrong_is_kicked_once() -> None:
    world = World()
    ada, bea = world.peer("ada"), world.peer("bea")
    bea.end.reading = False
    for _ in range(OUTBOX_MESSAGES):
        ada.say({"type": "relay", "to": bea.id, "data": {}})
    bea.say("nonsense")
    assert bea.end.code == "slow"


def test_a_room_that_empties_while_it_is_told_is_not_mixed_up_with_the_next() -> None:
    world = World()
    ada = world.peer("ada")
    ada.end.reading = False
    for number in range(OUTBOX_MESSAGES + 2):
        ada.say({"type": "heartbeat", "hidden": number % 2 == 0})
        world.pass_time(0.05)
        if ada.end.closed:
            break
    assert ada.end.code == "slow"
    world.peer("bea")
    world.pass_time(0.1)
    cid = world.peer("cid")
    assert {record["name"] for record in cid.end.last("joined")["peers"]} == {"bea", "cid"}


def test_too_many_bytes_of_types() -> None:
    caller = World().caller().join("ada", announce=announcement(*(f"{number}" + "x" * 250 for number in range(256))))
    assert caller.end.closed is None
    described = [{**spec(str(number)), "doc": "x" * 4000} for number in range(200)]
    caller = World().caller().join("ada", announce={**announcement(), "types": described})
    assert caller.end.code == "bad-message"
