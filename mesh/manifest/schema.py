"""The form of a manifest: one table, which is the published JSON Schema, and the check that reads it.

``docs/manifest.schema.json`` is ``json.dumps(SCHEMA, indent=2)``, for editors; a test keeps the two equal.
``x-instead``, which JSON Schema ignores, maps the words that people bring from elsewhere to ours.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mesh.errors import Fault
from mesh.limits import MAX_CONNECTIONS, MAX_ID_CHARS, MAX_NODES, MAX_TIMEOUT_S
from mesh.nodes.spec import suggestion
from mesh.values import at, kind_of

type Schema = Mapping[str, Any]


def _map(
    properties: Mapping[str, Any], *, required: tuple[str, ...] = (), instead: Mapping[str, str]
) -> dict[str, Any]:
    """A map with these keys, and ``x-…`` keys that are ignored."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
        "x-instead": instead,
    }


_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS}
_AMOUNT: Final = {"type": "number", "exclusiveMinimum": 0}
_LABELS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_GPU: Final = _map(
    {"type": _TEXT, "min_memory_gb": _AMOUNT}, instead={"memory_gb": "min_memory_gb", "memory": "min_memory_gb"}
)
_CPU: Final = _map({"cores": _AMOUNT, "arch": _TEXT}, instead={"count": "cores", "architecture": "arch"})
_CAPABILITIES: Final = _map(
    {
        "gpu": {"anyOf": [{"const": True}, _GPU]},
        "cpu": _CPU,
        "memory_gb": _AMOUNT,
        "labels": _LABELS,
    },
    instead=dict.fromkeys(("memory", "ram", "ram_gb"), "memory_gb") | {"gpus": "gpu", "cores": "cpu: {cores: …}"},
)

_PLACEMENT: Final = _map(
    {
        "peer": _TEXT,
        "kind": {"enum": ["browser", "server"]},
        "runtime": {"enum": ["wasm", "python", "pyodide"]},
        "labels": _LABELS,
    },
    instead=dict.fromkeys(("host", "worker", "server", "node", "address"), "peer")
    | {"executor": "runtime", "type": "kind"},
)

_NODE: Final = _map(
    {
        "id": _TEXT,
        "node_type": _TEXT,
        "type": _TEXT,
        "params": {"type": "object"},
        "capabilities": _CAPABILITIES,
        "prefers": _CAPABILITIES,
        "placement": _PLACEMENT,
        "timeout_s": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_S},
    },
    required=("id",),
    instead=(
        dict.fromkeys(("config", "parameters", "args", "options", "settings"), "params")
        | dict.fromkeys(("host", "peer", "worker"), "placement: {peer: …}")
        | dict.fromkeys(("executor", "runtime", "runtime_hint"), "placement: {runtime: …}")
        | {"kind": "placement: {kind: …}", "name": "id", "timeout": "timeout_s", "timeout_ms": "timeout_s"}
        | {"requirements": "capabilities", "requires": "capabilities", "gpu": "capabilities: {gpu: …}"}
        | dict.fromkeys(("inputs", "outputs", "depends_on"), "connections")
    ),
) | {"oneOf": [{"required": ["node_type"]}, {"required": ["type"]}]}

_CONNECTION: Final = _map(
    {"from": _TEXT, "to": _TEXT, "port": _TEXT, "overflow": {"enum": ["block", "drop_oldest"]}},
    required=("from", "to"),
    instead=(
        dict.fromkeys(("source", "src", "from_node"), "from")
        | dict.fromkeys(("target", "dst", "destination", "to_node"), "to")
        | dict.fromkeys(("input", "to_port", "target_port", "target_input"), "port")
    ),
)

SCHEMA: Final = _map(
    {
        "version": {"const": "v1"},
        "metadata": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "description": {"type": "string"}},
            "required": ["name"],
        },
        "nodes": {"type": "array", "minItems": 1, "maxItems": MAX_NODES, "items": _NODE},
        "connections": {"type": "array", "maxItems": MAX_CONNECTIONS, "items": _CONNECTION},
    },
    required=("version", "nodes"),
    instead=(
        dict.fromkeys(("edges", "links", "flow"), "connections")
        | dict.fromkeys(("name", "description", "title"), "metadata: {name, description}")
        | {"apiVersion": "version", "schema_version": "version", "steps": "nodes", "vertices": "nodes"}
    ),
) | {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A RemoteMedia Mesh pipeline, version 1",
}

_WORDS: Final = {"object": "a map", "array": "a list", "string": "text", "number": "a number"}
_KINDS: Final = {"object": ("map",), "array": ("list",), "string": ("text",), "number": ("int", "float")}


def check(value: Any, schema: Schema = SCHEMA, place: str = "") -> Iterator[Fault]:
    """Every fault of a value's form. Reads what the table above uses of JSON Schema, and ``x-instead``."""
    if "anyOf" in schema:
        schema = next((each for each in schema["anyOf"] if _fits(value, each)), schema)
    if not _fits(value, schema):
        yield Fault(place, f"write {_wanted(schema)}, not {_shown(value)}")
    elif isinstance(value, dict):
        yield from _check_map(value, schema, place)
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema["maxItems"]:
            yield Fault(place, f"write {schema.get('minItems', 0)} to {schema['maxItems']} entries, not {len(value)}")
        for index, member in enumerate(value):
            yield from check(member, schema["items"], at(place, index))
    elif isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield Fault(place, f"write text of {schema['minLength']} to {schema['maxLength']} characters")
    elif "exclusiveMinimum" in schema and not schema["exclusiveMinimum"] < value <= schema.get("maximum", float("inf")):
        limit = f" and at most {schema['maximum']:g}" if "maximum" in schema else ""
        yield Fault(place, f"write a number above {schema['exclusiveMinimum']}{limit}")


def _check_map(fields: Mapping[str, Any], schema: Schema, place: str) -> Iterator[Fault]:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", {})
    instead = schema.get("x-instead", {})
    for name, value in fields.items():
        if name in known or others:
            yield from check(value, known.get(name, others), at(place, name))
        elif others is False and not re.match("x-", name):
            hint = f"; write {instead[name]}" if name in instead else suggestion(name, known)
            yield Fault(at(place, name), f"unknown field{hint}")
    for name in schema.get("required", ()):
        if name not in fields and name not in (instead.get(word) for word in fields):
            yield Fault(at(place, name), f"missing; write {_wanted(known[name])}")
    choices = [each["required"][0] for each in schema.get("oneOf", ())]
    if choices and sum(name in fields for name in choices) != 1:
        yield Fault(at(place, choices[0]), f"write exactly one of {', '.join(choices)}")


def _fits(value: Any, schema: Schema) -> bool:
    if "anyOf" in schema:
        return any(_fits(value, each) for each in schema["anyOf"])
    if "const" in schema:
        return bool(value == schema["const"]) and type(value) is type(schema["const"])
    if "enum" in schema:
        return value in schema["enum"]
    return "type" not in schema or kind_of(value) in _KINDS[schema["type"]]


def _wanted(schema: Schema) -> str:
    if "const" in schema:
        return _shown(schema["const"])
    if "enum" in schema:
        return " or ".join(map(_shown, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(map(_wanted, schema["anyOf"]))
    return _WORDS[schema["type"]]


def _shown(value: Any) -> str:
    """A scalar as JSON, anything else by its kind."""
    if isinstance(value, str) and len(value) <= 40:
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool | int | float) else kind_of(value)
