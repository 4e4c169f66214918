"""`sluice check`: validate all configuration, and show what a change of it would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from sqlalchemy import inspect, make_url
from sqlalchemy.exc import ArgumentError

from sluice.cli.config_tables import config_tables
from sluice.cli.options import CONFIG
from sluice.cli.terminal import console
from sluice.config import Config, default_directory, load_config
from sluice.config.changes import Change, changes_of_export, changes_of_import, changes_of_sync
from sluice.ledger import Ledger, LedgerError
from sluice.ledger.database import LedgerUnavailable
from sluice.ledger.registry import recorded_destinations, recorded_sources
from sluice.ledger.syncs import recorded_configs


@click.command()
@CONFIG
@click.option(
    "--ledger",
    "ledger_url",
    envvar="SLUICE_LEDGER_URL",
    help="SQLAlchemy URL of the ledger, to show what a change would do.",
)
@click.pass_context
def check(context: click.Context, directory: Path | None, ledger_url: str | None) -> None:
    """Validate all configuration; with a ledger, show what a change would do.

    Exits with 1 if a file has a problem or a change is refused.
    """
    # Here and not above: every command loads this file, and the engine takes a second.
    from sluice.cohorts.config_check import with_query_problems

    config = with_query_problems(load_config(directory or default_directory(), thorough=True))
    config.raise_for_problems()
    out = console()
    out.print(f"Configuration {escape(str(config.directory))}: no problems", soft_wrap=True)
    for table in config_tables(config):
        out.print(table)
    if ledger_url is None:
        out.print("No ledger was named (--ledger), so changes are not compared.", soft_wrap=True)
        return
    try:
        refused = _print_changes(out, config, ledger_url)
    except (LedgerUnavailable, LedgerError) as error:
        # The configuration itself is fine: a ledger that is down must not hold up a review.
        click.echo(f"Changes are not compared: {error}", err=True)
        return
    if refused:
        context.exit(1)


def _print_changes(out: Console, config: Config, ledger_url: str) -> bool:
    """Print what differs from the ledger's records; returns whether anything is refused."""
    ledger = _open(ledger_url)
    if ledger is None:
        out.print("The ledger has no tables yet: everything is new.")
        return False
    exports, imports = recorded_destinations(ledger), recorded_sources(ledger)
    syncs = _recorded_syncs(ledger)
    refused = False
    quiet = True
    for export in config.exports:
        record = exports.get(export.id)
        changes = changes_of_export(record.config, export) if record else None
        quiet &= _print_subject(out, f"export {export.id}", changes)
    for source in config.imports:
        seen = imports.get(source.id)
        found = (
            changes_of_import(seen.config, source, has_imported=seen.first_import_at is not None)
            if seen
            else None
        )
        refused |= any(change.refused for change in found or [])
        quiet &= _print_subject(out, f"import {source.id}", found)
    for sync in config.syncs:
        recorded = syncs.get(sync.id)
        quiet &= _print_subject(out, f"sync {sync.id}", changes_of_sync(recorded, sync) if recorded else None)
    for kind, recorded_ids, things, consequence in (
        ("export", exports.keys(), config.exports, "Its schedule ends; its objects stay."),
        ("import", imports.keys(), config.imports, "It imports no more; its rows stay."),
        ("sync", syncs.keys(), config.syncs,
         "Nothing more is sent, no exits either: whom its receiver has, stays."),
    ):  # fmt: skip
        for gone in sorted(recorded_ids - {thing.id for thing in things}):
            quiet = False
            out.print(f"{kind} {gone}: removed. {consequence}", soft_wrap=True)
    if quiet:
        out.print("Nothing differs from what the ledger recorded.")
    return refused


def _recorded_syncs(ledger: Ledger) -> dict[str, dict[str, Any]]:
    """Return the configuration of each sync that was ever fixed; none in a ledger from before cohorts."""
    with ledger.begin() as connection:
        if not inspect(connection).has_table("syncs"):
            return {}
    return {id: config for id, (config, _) in recorded_configs(ledger).items() if config is not None}


def _print_subject(out: Console, subject: str, changes: list[Change] | None) -> bool:
    """Print the changes of one thing, None standing for a new one; returns whether there were none."""
    if changes is None:
        out.print(f"{subject}: new, begins with its first run.", soft_wrap=True)
        return False
    for change in changes:
        out.print(
            escape(
                f"{subject}: {change.key}: {_shown(change.old)} → {_shown(change.new)}. {change.consequence}"
            ),
            style="red" if change.refused else None,
            soft_wrap=True,
            highlight=False,
        )
    return not changes


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _open(url: str) -> Ledger | None:
    """Open a ledger to read it only: None if it has no tables, and nothing is created or migrated."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise LedgerError("The ledger's URL is none that SQLAlchemy reads.") from error
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        return None
    ledger = Ledger.open(url, migrate=False)
    with ledger.begin() as connection:
        names = set(inspect(connection).get_table_names())
    return ledger if {"destinations", "sources", "files"} <= names else None
