"""Where nodes go, and what is said about it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_rooms import peer, placed, planned, request, spec

from mesh.errors import NoPlanError
from mesh.manifest.model import Capabilities, Gpu, PipelineNode, Placement
from mesh.partitioner.reasons import ROWS, explain

ADD, TEXT, SPEECH = spec("Add", "wasm", "python"), spec("Text"), spec("Speech")
TAB_TEXT = spec("Text", "pyodide")


def node(name, node_type="Add", **fields):
    return PipelineNode(name, node_type, **fields)


def test_tiny_nodes_stay_with_the_driver():
    room = [peer("me", ADD, is_driver=True), peer("ada", ADD), peer("bob", ADD)]
    assert set(placed(request(room, [node("a"), node("b"), node("c")])).values()) == {("me", "wasm")}


def test_a_node_goes_to_the_only_peer_that_has_it_and_its_small_neighbours_stay():
    room = [peer("me", ADD, is_driver=True), peer("ada", ADD), peer("gpu", SPEECH)]
    places = placed(request(room, [node("a"), node("stt", "Speech"), node("b")]))
    assert places == {"a": ("me", "wasm"), "stt": ("gpu", "python"), "b": ("me", "wasm")}


def test_a_node_between_two_nodes_of_one_peer_joins_them():
    room = [peer("me", ADD, is_driver=True), peer("gpu", ADD, SPEECH)]
    places = placed(request(room, [node("s1", "Speech"), node("a"), node("s2", "Speech")]))
    assert {who for who, _ in places.values()} == {"gpu"}


def test_a_heavy_node_goes_where_it_is_faster_by_more_than_the_way_there():
    room = [peer("me", TEXT, is_driver=True), peer("ada", TEXT)]
    measured = {"Text": {("id-me", "python"): 20.0, ("id-ada", "python"): 5.0}}
    assert placed(request(room, [node("t", "Text")]), measured=measured)["t"][0] == "ada"
    slow = {("id-me", "id-ada"): {"rtt_ms": 40.0, "bytes_per_s": 0}}
    assert placed(request(room, [node("t", "Text")]), measured=measured, links=slow)["t"][0] == "me"


def test_neighbours_are_never_on_peers_that_cannot_reach_each_other():
    room = [peer("me", is_driver=True), peer("ada", TEXT), peer("bob", SPEECH), peer("cleo", SPEECH, TEXT)]
    measured = {
        "Text": {("id-ada", "python"): 1.0, ("id-cleo", "python"): 90.0},
        "Speech": {("id-bob", "python"): 1.0, ("id-cleo", "python"): 90.0},
    }
    line = [node("t", "Text"), node("s", "Speech")]
    assert placed(request(room, line), measured=measured) == {"t": ("ada", "python"), "s": ("bob", "python")}
    parted = request(room, line, apart=[("bob", "ada")])
    assert {who for who, _ in placed(parted, measured=measured).values()} & {"ada", "bob"} != {"ada", "bob"}
    (bob,) = [each for each in planned(parted, measured=measured)["why"]["s"] if each["name"] == "bob"]
    assert bob["chosen"] or (bob["ms"], bob["reason"]) == (None, "cannot reach the peers of its neighbours")
    with pytest.raises(NoPlanError, match="ada and bob only, which cannot reach each other"):
        planned(request(room[:3], line, apart=[("bob", "ada")]))


def test_load_and_hidden_tabs_count():
    room = [peer("me", TEXT, is_driver=True, load=0.9), peer("ada", TEXT)]
    measured = {"Text": {("id-me", "python"): 5.0, ("id-ada", "python"): 5.0}}
    assert placed(request(room, [node("t", "Text")]), measured=measured)["t"][0] == "ada"
    tabs = [
        peer("me", is_driver=True),
        peer("x", TAB_TEXT, hidden=True, pyodide="ready"),
        peer("y", TAB_TEXT, pyodide="ready"),
    ]
    assert placed(request(tabs, [node("t", "Text")]))["t"][0] == "y"


def test_pyodide_that_is_not_loaded_costs_its_start():
    for state, expected in (("absent", "ada"), ("ready", "tab")):
        room = [peer("tab", TAB_TEXT, is_driver=True, kind="browser", pyodide=state), peer("ada", TEXT)]
        assert placed(request(room, [node("t", "Text"), node("u", "Text")]))["t"][0] == expected


def test_an_unmeasured_peer_is_judged_by_the_others_and_its_benchmark():
    slow, fast = peer("slow", TEXT, speed={"python": 9.0}), peer("fast", TEXT, speed={"python": 1.0})
    room = [peer("me", is_driver=True), slow, fast]
    measured = {"Text": {("id-slow", "python"): 100.0}}
    plan = planned(request(room, [node("t", "Text")]), measured=measured)
    terms = {each["name"]: each["terms"] for each in plan["why"]["t"] if each["terms"]}
    assert terms["fast"]["compute"] == pytest.approx(100 / 9, rel=0.01)
    assert terms["slow"]["compute"] == 100.0


def test_preferences_are_soft():
    wish = node("t", "Text", prefers=Capabilities(gpu=Gpu()))
    room = [peer("me", TEXT, is_driver=True), peer("gpu", TEXT, caps={"gpu": {"type": "cuda"}})]
    assert placed(request(room, [wish]))["t"][0] == "gpu"
    assert placed(request(room[:1], [wish]))["t"][0] == "me"


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        (Placement(peer="driver"), ("tab", "wasm")),
        (Placement(peer="bob"), ("bob", "wasm")),
        (Placement(kind="server"), ("ada", "wasm")),
        (Placement(kind="server", runtime="python"), ("ada", "python")),
        (Placement(labels={"region": "eu"}), ("bob", "wasm")),
    ],
)
def test_placement(placement, expected):
    room = [
        peer("tab", spec("Add", "wasm"), is_driver=True, kind="browser"),
        peer("ada", ADD),
        peer("bob", ADD, caps={"labels": {"region": "eu"}}),
    ]
    assert placed(request(room, [node("a", placement=placement)]))["a"] == expected


def test_a_pin_is_obeyed_and_named():
    room = [peer("me", ADD, is_driver=True), peer("ada", ADD)]
    asked = request(room, [node("a"), node("b")], pins={"a": "ada"})
    assert placed(asked)["a"][0] == "ada"
    assert planned(asked)["why"]["a"][0]["reason"] == "pinned to ada"


def test_where_nothing_fits_every_peer_is_named_with_all_that_it_lacks():
    room = [
        peer("me", ADD, is_driver=True),
        peer("ada", SPEECH, caps={"gpu": {"type": "cuda", "memory_gb": 16}}),
        peer("guest", SPEECH, works=False),
        peer("tab", spec("Speech", "pyodide"), kind="browser"),
    ]
    needs = Capabilities(gpu=Gpu("cuda", 24), memory_gb=8, labels={"region": "eu"})
    with pytest.raises(NoPlanError) as caught:
        planned(request(room, [node("stt", "Speech", capabilities=needs, placement=Placement(runtime="python"))]))
    lacks = {refusal.peer: refusal.lacks for refusal in caught.value.refusals}
    common = ("memory 0 GB < 8 GB", "label region=eu missing")
    assert lacks == {
        "me": ("does not offer Speech", "has no gpu", *common),
        "ada": ("gpu cuda 16 GB < 24 GB", *common),
        "guest": ("does not serve others (no work grant)", "has no gpu", *common),
        "tab": ("offers Speech only in pyodide, python is asked", "has no gpu", *common),
    }
    for refusal in caught.value.refusals:
        assert refusal.peer in str(caught.value)
        assert all(each in str(caught.value) for each in refusal.lacks)


def test_contradictory_wishes_are_refused():
    room = [peer("me", ADD, is_driver=True, kind="browser"), peer("ada", ADD)]
    with pytest.raises(NoPlanError, match="is not me, to which the node is pinned"):
        planned(request(room, [node("a", placement=Placement(kind="server"))], pins={"a": "me"}))


def test_a_peer_whose_type_differs_is_refused():
    other = spec("Add", "wasm", arity="many")
    room = [peer("me", ADD, is_driver=True), peer("ada", other)]
    lacks = next(each["lacks"] for each in planned(request(room, [node("a")]))["why"]["a"] if each["name"] == "ada")
    assert lacks == ["offers another Add, with other parameters or another arity"]


def test_every_node_lists_every_peer_and_one_chosen_seat():
    room = [peer("me", ADD, is_driver=True), peer("ada", ADD, TEXT), peer("bob", TEXT)]
    plan = planned(request(room, [node("a"), node("t", "Text")]))
    for name, why in plan["why"].items():
        assert {each["name"] for each in why} == {"me", "ada", "bob"}
        chosen = [each for each in why if each["chosen"]]
        assert [(each["peer"], each["runtime"]) for each in chosen] == [
            (seat["peer"], seat["runtime"]) for seat in plan["steps"][0]["nodes"][name]["on"]
        ]
        assert all(each["reason"] and (each["lacks"] or each["ms"] >= plan["latency_ms"]) for each in why)
    assert json.loads(json.dumps(plan)) == plan


def test_explanation():
    room = [peer("me", ADD, is_driver=True), peer("ada", TEXT)]
    plan = planned(request(room, [node("first"), node("t", "Text")]))
    lines = explain(plan).splitlines()
    assert lines[0].startswith(
        "first  me (wasm)     0.05 ms  because the whole takes 0.25 ms less than with me (python)"
    )
    assert lines[1] == "t      ada (python)  0.3 ms   because the only one that fits"
    assert explain(plan, "t").splitlines()[1].split() == ["me", "cannot", "does", "not", "offer", "Text"]


def refused(asked):
    """The refusals, none where there is a plan."""
    try:
        planned(asked)
    except NoPlanError as error:
        return error.refusals
    return ()


@st.composite
def rooms(draw):
    types = [spec(name, *draw(st.sampled_from([("wasm",), ("python",), ("wasm", "python")]))) for name in "ABC"]
    peers = []
    for index in range(draw(st.integers(1, 5))):
        gpu = draw(st.sampled_from([{}, {"gpu": {"type": "cuda", "memory_gb": 16}}]))
        offered = [each for each in types if draw(st.booleans())]
        works, kind = draw(st.booleans()), draw(st.sampled_from(["browser", "server"]))
        peers.append(peer(f"p{index}", *offered, caps=gpu, works=works, kind=kind, is_driver=index == 0))
    known = sorted({name for each in peers for name in each.types})
    nodes = []
    for index in range(draw(st.integers(1, 6)) if known else 0):
        placement = draw(
            st.sampled_from([Placement(), Placement(kind="server"), Placement(peer="p1"), Placement(runtime="wasm")])
        )
        needs = Capabilities(gpu=draw(st.sampled_from([None, None, Gpu("cuda", 8)])))
        nodes.append(node(str(index), draw(st.sampled_from(known)), placement=placement, capabilities=needs))
    ids = [each.id for each in nodes]
    pairs = [(a, b) for place, b in enumerate(ids) for a in ids[:place]]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=8)) if pairs else []
    return peers, nodes, edges


@settings(deadline=None, max_examples=150)
@given(rooms())
def test_requirements_are_always_obeyed_and_refusals_complete(room):
    peers, nodes, edges = room
    asked = request(peers, nodes, edges)
    by_name = {each.name: each for each in peers}
    refusals = refused(asked)
    if refusals:
        assert all(refusal.lacks for refusal in refusals)
        for name in {refusal.node for refusal in refusals}:
            assert [each.peer for each in refusals if each.node == name] == [each.name for each in peers]
        return
    places = placed(asked)
    for each in nodes:
        name, runtime = places[each.id]
        host = by_name[name]
        assert runtime in host.types[each.node_type].runtimes
        assert host.works or host.is_driver
        assert each.placement.kind in (None, host.kind)
        assert each.placement.peer in (None, host.name)
        assert each.placement.runtime in (None, runtime)
        assert each.capabilities.gpu is None or "gpu" in host.caps
    assert placed(asked) == places


def test_the_explanation_of_a_large_graph_is_bounded_and_keeps_what_was_chosen():
    room = [peer("me", ADD, is_driver=True), *(peer(f"p{index}", ADD) for index in range(20))]
    why = planned(request(room, [node(str(index)) for index in range(500)]))["why"]
    assert max(map(len, why.values())) == ROWS // 500
    assert all(options[0]["chosen"] for options in why.values())
