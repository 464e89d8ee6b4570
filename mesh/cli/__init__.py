"""The command ``mesh``. Results on stdout, everything else on stderr; exit codes are in docs/operations.md."""

from typing import ClassVar

import click

from mesh import __version__


class Commands(click.Group):
    """Loads a command's module when it is used, so that ``mesh --help`` and ``mesh run`` start quickly."""

    modules: ClassVar = {
        "run": "mesh.cli.run",
        "validate": "mesh.cli.describe",
        "nodes": "mesh.cli.describe",
        "plan": "mesh.cli.describe",
        "signal": "mesh.cli.signaling",
        "invite": "mesh.cli.signaling",
        "worker": "mesh.cli.worker",
        "demo": "mesh.cli.demo",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        from importlib import import_module

        command = getattr(import_module(self.modules[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mesh")
def main() -> None:
    """Run dataflow pipelines across browsers and Python servers, over WebRTC."""
