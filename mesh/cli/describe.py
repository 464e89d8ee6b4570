"""``mesh validate``, ``mesh nodes``, ``mesh plan``: what could run, before anything does."""

import json
import textwrap
from pathlib import Path
from typing import Any

import click

from mesh.cli.shell import USAGE, join_option, nodes_option, read, run_async, say
from mesh.errors import ManifestError
from mesh.manifest import compile_graph, load
from mesh.nodes.spec import NodeSpec
from mesh.partitioner import explain
from mesh.peer import Peer
from mesh.values import to_json


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@nodes_option
def validate(files: tuple[Path, ...], node_sources: tuple[str, ...]) -> None:
    """Check manifests; every fault of every FILE is printed on stderr. Exit code 2 if there is any."""

    async def main() -> int:
        types = Peer.alone(nodes=node_sources).types
        bad = sum(not is_valid(file, types) for file in files)
        return USAGE if bad else 0

    run_async(main)


def is_valid(file: Path, types: dict[str, NodeSpec]) -> bool:
    """Says what is wrong with a file, or that nothing is."""
    try:
        graph = compile_graph(load(file), types)
    except ManifestError as error:
        for fault in error.faults:
            say(str(fault) if fault.path == str(file) else f"{file}: {fault}")
        return False
    click.echo(f"{file}: valid, {len(graph.nodes)} nodes")
    return True


@click.command()
@nodes_option
@click.option("--json", "as_json", is_flag=True, help="A JSON list with one entry for each type.")
def nodes(node_sources: tuple[str, ...], as_json: bool) -> None:
    """List the node types that run here, with their parameters."""

    async def main() -> int:
        types = Peer.alone(nodes=node_sources).types
        if as_json:
            click.echo(json.dumps([spec.to_json() for spec in types.values()], indent=2))
        else:
            for _, spec in sorted(types.items()):
                click.echo(describe(spec))
        return 0

    run_async(main)


def describe(spec: NodeSpec) -> str:
    """A type in a few lines: ``Name(parameters)``, kinds and runtimes, then its documentation, then its parameters'."""
    parameters = (name if each.required else f"{name}={to_json(each.default)}" for name, each in spec.params.items())
    head = click.style(f"{spec.node_type}({', '.join(parameters)})", bold=True)
    notes = [f"{spec.accepts} → {spec.returns}", ", ".join(spec.runtimes), *_flags(spec)]
    docs = [spec.doc, *(f"{name}: {each.doc}" for name, each in spec.params.items() if each.doc)]
    return "\n".join([f"{head}  {'; '.join(notes)}", *(textwrap.indent(doc, "    ") for doc in docs if doc), ""])


def _flags(spec: NodeSpec) -> list[str]:
    flags = {"a join": spec.join, "stateful": spec.stateful, "not deterministic": not spec.deterministic}
    return [*([] if spec.arity == "one" else [f"makes {spec.arity}"]), *(flag for flag, on in flags.items() if on)]


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@join_option(required=True)
@nodes_option
@click.option("--why", "node", metavar="NODE", help="Only this node.")
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON, with every candidate's cost terms.")
def plan(pipeline: Path, invite: str, node_sources: tuple[str, ...], node: str | None, as_json: bool) -> None:
    """Show where each node of PIPELINE would run in the room, and why."""

    async def main() -> int:
        manifest = read(pipeline)
        async with Peer.join(invite, nodes=node_sources) as peer:
            made: dict[str, Any] = (await peer.plan(manifest)).plan
        click.echo(json.dumps(made, indent=2) if as_json else explain(made, node))
        for warning in made.get("warnings", ()):
            click.echo(f"warning: {warning}", err=True)
        return 0

    run_async(main)
