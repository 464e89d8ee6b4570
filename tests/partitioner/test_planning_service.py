"""A plan request as it comes over the wire, and every kind of answer."""

import json

import pytest

from mesh.nodes.spec import NodeSpec, Param
from mesh.partitioner import answer_plan

MULTIPLY = NodeSpec("MultiplyNode", params={"factor": Param("number")}, runtimes=("wasm", "python"))
TEXT = NodeSpec("TextProcessorNode", runtimes=("python",))
MANIFEST = {
    "version": "v1",
    "metadata": {"name": "mixed"},
    "nodes": [
        {"id": "x3", "node_type": "MultiplyNode", "params": {"factor": 3}},
        {"id": "text", "node_type": "TextProcessorNode", "placement": {"kind": "server"}},
    ],
    "connections": [{"from": "x3", "to": "text"}],
}


def record(name, *specs, **fields):
    return {
        "peer": f"id-{name}",
        "name": name,
        "can": ["submit", "work"],
        "load": 0.0,
        "hidden": False,
        "kind": "server",
        "runtimes": ["python"],
        "types": [spec.to_json() for spec in specs],
        "caps": {"cores": 2, "arch": "x86_64", "memory_gb": 4, "labels": {}},
        "slots": 2,
        "speed": {},
        **fields,
    }


TAB = record("tab", MULTIPLY, kind="browser", can=["submit"], pyodide="absent")
ADA = record("ada", MULTIPLY, TEXT)


def answer(manifest=MANIFEST, records=(TAB, ADA), driver=TAB, **fields):
    return answer_plan({"manifest": manifest, **fields}, records=list(records), driver=driver)


@pytest.mark.parametrize("manifest", [MANIFEST, json.dumps(MANIFEST)])
def test_a_plan_with_its_graph(manifest):
    made = answer(manifest)
    assert json.loads(json.dumps(made)) == made
    assert made["name"] == "mixed"
    assert made["graph"]["order"] == ["x3", "text"]
    assert made["graph"]["nodes"][0]["params"] == {"$bytes": "gaZmYWN0b3ID"}  # msgpack of {"factor": 3}
    places = {node: place["on"][0]["peer"] for node, place in made["plan"]["steps"][0]["nodes"].items()}
    assert places == {"x3": "id-tab", "text": "id-ada"}


def test_a_driver_may_offer_to_its_own_run_what_it_announces_with_the_request():
    bare = record("cli", can=["submit"])
    announce = {**{key: bare[key] for key in ("kind", "runtimes", "caps", "slots")}, "types": [MULTIPLY.to_json()]}
    made = answer(records=[bare, ADA], driver=bare, announce=announce)
    assert made["plan"]["steps"][0]["nodes"]["x3"]["on"] == [{"peer": "id-cli", "runtime": "wasm"}]


def test_faults_of_the_manifest():
    wrong = {
        **MANIFEST,
        "nodes": [{"id": "x3", "node_type": "MultiplyNode", "params": {"factr": 3}}],
        "connections": [],
    }
    faults = answer(wrong)["faults"]
    assert {"nodes[0].params.factr", "nodes[0].params.factor"} == {fault["path"] for fault in faults}


@pytest.mark.parametrize("manifest", [None, 7, "", "{", "version: v1", [], {}, {"version": "v2"}, "a: &x [*x]"])
def test_nonsense_is_answered_with_faults(manifest):
    assert answer(manifest)["faults"]


@pytest.mark.parametrize("pins", [{"nope": "ada"}, {"x3": 5}, ["x3"], "x3"])
def test_wrong_pins_are_faults(pins):
    assert all(fault["path"].startswith("pins") for fault in answer(pins=pins)["faults"])


def test_an_announcement_that_cannot_be_read_is_a_fault():
    assert answer(announce={"types": [{"node_type": 5}]})["faults"][0]["path"] == "announce"


def test_where_nobody_fits_every_peer_is_named():
    refused = answer(pins={"text": "tab"})["refused"]
    assert refused["refusals"] == [
        {
            "node": "text",
            "peer": "tab",
            "lacks": ["does not offer TextProcessorNode", "is a browser, a server is asked"],
        },
        {"node": "text", "peer": "ada", "lacks": ["is not tab, to which the node is pinned"]},
    ]
    assert "tab (driver): does not offer TextProcessorNode" in refused["message"]
