"""Stops a wheel without its assets: the page and the wasm modules are built, not kept in git."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NEEDED = ("mesh/_assets/page/index.html", "mesh/_assets/page/dashboard.html", "mesh/_assets/nodes/basics.wasm")


class AssetsHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        missing = [name for name in NEEDED if not (Path(self.root) / name).is_file()]
        if missing:
            raise SystemExit(f"The wheel would lack {', '.join(missing)}: run `make wheel`, which builds them first.")
