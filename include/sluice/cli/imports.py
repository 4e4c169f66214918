"""`sluice import …`: what the imports did, and what a person can do about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from sluice.access.connections import EnvironmentAccess
from sluice.cli.held import held_lines
from sluice.cli.options import BY, CONFIG, LEDGER
from sluice.cli.terminal import console
from sluice.config import ImportConfig
from sluice.converter import Converter
from sluice.imports.again import import_again
from sluice.imports.enabling import enable as enable_source
from sluice.imports.enabling import state_of_test
from sluice.imports.notifications import enable_notifications
from sluice.imports.preview import MAX_LISTED, Keys, Sample, look_at_keys, sample_rows
from sluice.imports.rejected_files import export_rejects
from sluice.imports.rejects import rejected_rows
from sluice.imports.retry import give_up_file, retry_file
from sluice.imports.session import ImportRun
from sluice.imports.taxonomy import taxonomy_of
from sluice.lake.duplicates import sampled_duplicates
from sluice.ledger import files
from sluice.ledger.again import open_rejects

SOURCE = click.argument("source")
KEYS = click.argument("keys", nargs=-1, metavar="[KEY]...")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for machines.")
STATES = ("discovered", "processing", "done", "failed", "given_up")
_COUNTS = ("rows_read", "loaded", "duplicate", "ignored", "rejected")
_HEADS = ("read", "loaded", "duplicate", "ignored", "rejected")


@click.group("import")
@CONFIG
@LEDGER
@click.pass_context
def imports(context: click.Context, directory: Path | None, ledger_url: str | None) -> None:
    """Enable sources, show what imports did, and mend what failed.

    Connections are those of the environment: AIRFLOW_CONN_<ID> as JSON, else boto3's own chain.
    """
    context.obj = EnvironmentAccess(directory, ledger_url)


@imports.command()
@click.pass_obj
def status(access: EnvironmentAccess) -> None:
    """Sum up every source: its files by state, their rows, the newest load."""
    heads = [*(f"rows {head}" for head in _HEADS), "open rejects", "converter", "newest load (UTC)"]
    table = Table("source", *(state.replace("_", " ") for state in STATES), *heads)
    for source in access.config.imports:
        found = {one.state: one for one in files.summaries(access.ledger, source.id)}
        numbers = [found[state].files if state in found else 0 for state in STATES]
        numbers += [sum(getattr(one, name) for one in found.values()) for name in _COUNTS]
        numbers.append(sum(one.rows for one in open_rejects(access.ledger, source.id)))
        newest = found["done"].newest if "done" in found else None
        tested = state_of_test(access.ledger, source, access.config.converter_path(source))
        table.add_row(source.id, *(f"{number:,}" for number in numbers), tested, _moment(newest))
    console().print(table)
    for line in held_lines(access.ledger, "import"):
        click.echo(line)
    if access.config.problems:
        click.echo(
            "The configuration has problems, and their files are left out: see sluice check.", err=True
        )


@imports.command("files")
@SOURCE
@click.option("--state", type=click.Choice(STATES), help="Only files in this state.")
@click.pass_obj
def files_of(access: EnvironmentAccess, source: str, state: str | None) -> None:
    """List the files of SOURCE in their order, with their rows, seconds and reasons.

    Files in the state `processing` that a quality gate holds are shown as `held`.
    """
    config = access.config.source(source)
    held = {run for of, run in files.runs_of_held(access.ledger) if of == config.id}
    click.echo(f"{'state':<11}" + "".join(f"{head:>12}" for head in _HEADS) + f"{'seconds':>9}  file")
    for file in files.of_source(access.ledger, config.id, state):
        numbers = "".join(_number(getattr(file, name)).rjust(12) for name in _COUNTS)
        seconds = "" if file.seconds is None else f"{file.seconds:.1f}"
        waits = file.state == "processing" and (file.staged or {}).get("run") in held
        click.echo(f"{'held' if waits else file.state:<11}{numbers}{seconds:>9}  {file.name}")
        if file.reason:
            click.echo(f"{'':11}{file.reason}")


@imports.command()
@SOURCE
@KEYS
@AS_JSON
@click.option(
    "--export",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the rows as files in the source's own format to this folder.",
)
@click.pass_obj
def rejects(
    access: EnvironmentAccess, source: str, keys: tuple[str, ...], as_json: bool, folder: Path | None
) -> None:
    """List the rows of SOURCE, or of its files KEY, that did not become events, or write them to files.

    Rows that were imported again, or whose file waits for a retry or was given up, are past.
    """
    config = access.config.source(source)
    if folder is not None:
        converter = Converter.from_file(access.config.converter_path(config))
        exported = export_rejects(access.lake, access.ledger, config, converter, folder, keys)
        for line in exported.lines(converter):
            click.echo(line)
        return
    count = 0
    for row in rejected_rows(access.lake, access.ledger, config.project, config.id, keys):
        count += 1
        if as_json:
            click.echo(json.dumps(asdict(row), ensure_ascii=False, default=str))
        else:
            place = f"{row.field}: " if row.field else ""
            click.echo(f"{row.key}, row {row.row:,}: {place}{row.reason}")
            click.echo(f"    {_line(row.raw)}")
    if not as_json:
        click.echo(f"{count:,} rejected rows")


@imports.command()
@SOURCE
@AS_JSON
@click.pass_obj
def duplicates(access: EnvironmentAccess, source: str, as_json: bool) -> None:
    """Show a sample of the rows of SOURCE that were dropped as duplicates, and which row stayed instead."""
    config = access.config.source(source)
    count = 0
    for row in sampled_duplicates(access.lake, access.ledger, config.project, config.id):
        count += 1
        if as_json:
            click.echo(json.dumps(asdict(row), ensure_ascii=False, default=str))
            continue
        other = f"differs in {', '.join(row.columns)}" if row.differs else "says the same"
        click.echo(f"{row.key}, row {row.row:,}: insert_id {row.insert_id}, device {row.device_id}")
        click.echo(
            f"    stayed: {row.stayed_object}, row {row.stayed_row} of {row.stayed_source}, loaded"
            f" {_moment(row.stayed_loaded_at)}; it {other}"
        )
    if not as_json:
        click.echo(f"{count:,} rows in the sample; `sluice import files {config.id}` counts all of them")


@imports.command()
@SOURCE
@KEYS
@click.pass_obj
def again(access: EnvironmentAccess, source: str, keys: tuple[str, ...]) -> None:
    """Import the rejected rows of SOURCE, or of its files KEY, again, by the converter as it is now.

    They come from the lake, the bucket is not touched. The next run of the source takes them.
    """
    run = ImportRun.open(access, source, "")
    taken = import_again(run, keys)
    for one in taken:
        click.echo(f"{one.key}: {one.rows:,} rejected rows wait{'' if one.new else ' already'}")
    what = (
        f"the next run of {run.source.dag_id} takes them up."
        if taken
        else "there is nothing to import again."
    )
    click.echo(f"{sum(one.rows for one in taken):,} rows of {len(taken):,} files: {what}")


@imports.command()
@SOURCE
@click.pass_obj
def preview(access: EnvironmentAccess, source: str) -> None:
    """List keys that SOURCE takes or leaves, then rows of its files beside the events they become."""
    # Neither ledger nor lake: it is a look before the first run.
    config = access.config.source(source)
    store = access.store(config.connection, config.region)
    converter = Converter.from_file(access.config.converter_path(config))
    keys = look_at_keys(config, store, converter)
    for line in _key_lines(keys, config, converter):
        click.echo(line)
    if not keys.matching:
        sys.exit(1)
    table = Table("file and row", "source", "event", show_lines=True)
    taxonomy = taxonomy_of(access.config, config)
    for sample in sample_rows(config, store, converter, taxonomy, keys.first_matching):
        row = "" if sample.row is None else f"\nrow {sample.row}"
        table.add_row(Text(sample.key + row), Text(_pretty(sample.record)), _event(sample))
    console().print(table)


@imports.command()
@SOURCE
@KEYS
@click.pass_obj
def enable(access: EnvironmentAccess, source: str, keys: tuple[str, ...]) -> None:
    """Let SOURCE import, once its converter has made an event of a row of its files.

    The first files are tried, or those named by KEY. Nothing is imported; the ledger remembers the converter.
    """
    # A source is enabled before the first run, which would make the ledger.
    trial = enable_source(replace(access, makes_ledger=True), source, keys)
    for line in trial.lines():
        click.echo(line)
    config = trial.source
    how = "its rows are in export form" if config.replay else f"the converter {config.converter} passed"
    click.echo(f"{config.id} is enabled: {how} ({trial.converter.hash[:12]}…).")
    if config.queue is not None:
        store = access.store(config.connection, config.region)
        queue = access.queue(config.connection, config.queue, config.region)
        enable_notifications(config, store, access.ledger, queue)
        click.echo(
            f"The bucket {config.bucket} tells {config.queue} of new files; the next run lists them all."
        )
    if not config.enabled:
        click.echo(
            f"Its DAG {config.dag_id} runs by hand only, until {config.source_file} says enabled: true."
        )


@imports.command()
@SOURCE
@click.argument("key")
@click.pass_obj
def retry(access: EnvironmentAccess, source: str, key: str) -> None:
    """Let the next run of SOURCE take the failed file KEY again, as it is now, by today's converter."""
    run = ImportRun.open(access, source, "")
    retry_file(run, key)
    click.echo(f"s3://{run.source.bucket}/{key} waits: the next run of {run.source.dag_id} takes it up.")


@imports.command("give-up")
@SOURCE
@click.argument("key")
@click.option("--why", default="", help="What the next person should know.")
@BY
@click.pass_obj
def give_up(access: EnvironmentAccess, source: str, key: str, why: str, by: str) -> None:
    """Mark the failed file KEY of SOURCE as given up; `retry` takes it back."""
    config = access.config.source(source)
    give_up_file(access.ledger, config, key, by, why)
    click.echo(f"s3://{config.bucket}/{key} is given up: none of its rows is in the lake.")


def _key_lines(keys: Keys, source: ImportConfig, converter: Converter) -> Iterator[str]:
    place = f"s3://{source.bucket}/{source.prefix}"
    for title, count, shown in (
        ("match", keys.matching, keys.first_matching),
        ("do not match", keys.others, keys.first_others),
    ):
        yield f"{count:,} objects of {place} {title}{':' if shown else '.'}"
        for item in shown:
            yield f"  {item.key} ({item.size:,} bytes)"
        if count > len(shown):
            yield f"  … and {count - len(shown):,} more"
    if keys.more:
        yield f"Only the first {MAX_LISTED:,} objects were looked at."
    if keys.in_folder:
        yield (
            f"Warning: all of them lie below {source.prefix}/. If that folder is meant, say prefix:"
            f" {source.prefix}/ with its slash; {source.prefix} also takes keys such as {source.prefix}-old/…"
        )
    if not keys.matching:
        yield (
            f"Nothing matches {converter.config.filter_pattern or '(every key)'}: check bucket and prefix of"
            f" the source, and filterPattern of {source.converter}, which must match the whole key,"
            " with or without the prefix."
        )


def _event(sample: Sample) -> Text:
    text = Text(_pretty(sample.event))
    if sample.fault is not None:
        title = "the file fails" if sample.row is None else "rejected"
        return Text(f"{title}: {sample.fault}\n", style="red") + text
    return text if sample.event is not None else Text("ignored: the ignore flag is true", style="yellow")


def _pretty(value: Any) -> str:
    return "" if value is None else json.dumps(value, indent=2, ensure_ascii=True, default=str)


def _line(text: str) -> str:
    one_line = text.replace("\n", "\\n").replace("\r", "\\r")
    return one_line if len(one_line) <= 500 else one_line[:499] + "…"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "never"
