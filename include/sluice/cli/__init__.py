"""The command line: `sluice …`. Each group of commands is one module, imported when it is used."""

from __future__ import annotations

import importlib
import sys

import click

from sluice import __version__
from sluice.errors import SluiceError

# name -> (module, attribute, one line for `sluice --help`)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "check": ("sluice.cli.check", "check", "Validate all configuration and show what a change would do."),
    "converter": ("sluice.cli.converter", "converter", "Check, preview, test and explain converters."),
    "cohort": ("sluice.cli.cohorts", "cohorts", "Preview cohorts; show members, history and syncs."),
    "import": ("sluice.cli.imports", "imports", "Enable sources, show what imports did, mend what failed."),
    "export": ("sluice.cli.exports", "exports", "Show what exports did and what is still to do."),
    "quality": ("sluice.cli.quality", "quality", "Show what quality gates found; release or discard."),
    "verify": ("sluice.cli.verify", "verify", "Compare a destination's objects with the lake."),
    "demo": ("sluice.cli.demo", "demo", "Run the main job on real data, with the Airflow UI."),
}


class LazyGroup(click.Group):
    """A click group that imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands without importing any."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one command that is asked for."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their one line, still without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in self.list_commands(ctx)])


@click.command(cls=LazyGroup)
@click.version_option(__version__, prog_name="sluice")
def cli() -> None:
    """Amplitude-compatible S3 and Kinesis pipelines on Apache Airflow."""


def main() -> None:
    """Run the command line; an error that a person can act on is one message, without a traceback."""
    try:
        cli()
    except SluiceError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
