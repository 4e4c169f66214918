"""`sluice converter …`: for the people who write converters."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from sluice.cli.terminal import console
from sluice.converter import ConfigError, Converter, RowError
from sluice.converter.cases import cases_path, run_cases
from sluice.converter.converter import now_ms, read_document
from sluice.converter.explain import Report
from sluice.converter.explain import explain as explain_rows
from sluice.converter.preview import guess_config, read_rows, show_json
from sluice.converter.propose import propose

CONFIG = click.argument("config", type=click.Path(path_type=Path))
FILE = click.argument("file")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Answer with JSON, for machines.")
SAMPLE_ROWS = 1_000


def _load(config: Path, as_json: bool = False) -> Converter:
    """Compile a configuration, or show all its problems and exit with 1."""
    place = ""
    try:
        document = read_document(config)
        place = f"{config}: "
        return Converter.from_config(document)
    except ConfigError as error:
        if as_json:
            _print_json({"problems": [problem._asdict() for problem in error.problems]})
        else:
            _echo(f"{place}{error}", err=True)
        sys.exit(1)


def _printable(text: str) -> str:
    """Write half characters (lone surrogates), which no terminal takes, as their escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _echo(text: str, *, nl: bool = True, err: bool = False) -> None:
    click.echo(_printable(text), nl=nl, err=err)


def _text(text: str, style: str = "") -> Text:
    return Text(_printable(text), style=style)


def _print_json(value: Any) -> None:
    _echo(json.dumps(value, indent=2, ensure_ascii=True, default=str))


def _first(rows: Iterable[Any], count: int | None) -> Iterable[Any]:
    return rows if count is None else itertools.islice(rows, count)


@click.group()
def converter() -> None:
    """Check, preview, test and explain converters."""


@converter.command()
@CONFIG
@AS_JSON
def check(config: Path, as_json: bool) -> None:
    """Name all problems of CONFIG, or sum it up and warn of what is probably not meant."""
    compiled = _load(config, as_json)
    summary: dict[str, Any] = {
        "name": compiled.config.name,
        "files": f"{compiled.config.file_type}, compression {compiled.config.compression}",
        "keys": compiled.config.filter_pattern,
        "target_fields": list(compiled.target_fields or ()),
        "source_fields": [*compiled.usage.fields, *(["(the whole row)"] if compiled.usage.whole_row else [])],
        "operators": dict(sorted(compiled.usage.operators.items())),
        "hash": compiled.hash,
        "warnings": [problem._asdict() for problem in compiled.warnings],
    }
    if as_json:
        _print_json(summary)
        return
    _echo(f"{config}: no problems")
    _echo(f"  files:          {summary['files']}, keys {summary['keys'] or '(all)'}")
    _echo(f"  target fields:  {', '.join(compiled.target_fields or ['(known at run time)'])}")
    _echo(f"  source fields:  {', '.join(summary['source_fields']) or '(none)'}")
    counts = (f"{name} {count}" for name, count in summary["operators"].items())
    _echo(f"  operators:      {', '.join(counts) or '(none)'}")
    for warning in compiled.warnings:
        _echo(f"  warning:        {warning}")


@converter.command()
@CONFIG
@FILE
@click.option("--rows", default=10, show_default=True, type=click.IntRange(1), help="How many rows to show.")
@AS_JSON
def preview(config: Path, file: str, rows: int, as_json: bool) -> None:
    """Show rows of FILE (a path or s3://…) beside the events they become, or why one becomes none."""
    compiled = _load(config, as_json)
    clock = now_ms()
    shown = []
    for number, row in enumerate(_first(read_rows(file, compiled.config), rows)):
        entry: dict[str, Any] = {
            "row": number,
            "source": None,
            "event": None,
            "ignored": False,
            "error": None,
        }
        try:
            if isinstance(row, RowError):
                raise row
            entry["source"] = row
            entry["event"] = compiled.convert(row, clock_ms=clock)
            entry["ignored"] = entry["event"] is None
        except RowError as error:
            entry["error"] = {"field": error.field, "reason": error.reason}
        shown.append(entry)
    if as_json:
        _print_json(shown)
        return
    table = Table("row", "source", "event", show_lines=True)
    for entry in shown:
        table.add_row(str(entry["row"]), _text(_pretty(entry["source"])), _event_text(entry))
    console(120).print(table)


def _pretty(value: Any) -> str:
    return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False)


def _event_text(entry: dict[str, Any]) -> Text:
    if entry["error"]:
        place = f"{entry['error']['field']}: " if entry["error"]["field"] else ""
        return _text(f"no event: {place}{entry['error']['reason']}", style="red")
    if entry["ignored"]:
        return Text("ignored: the ignore flag is true", style="yellow")
    return _text(_pretty(entry["event"]))


@converter.command()
@CONFIG
def test(config: Path) -> None:
    """Run the cases in <config>.tests.json beside CONFIG: row → expected event, with a diff by field."""
    results = run_cases(_load(config), cases_path(config))
    failed = 0
    for result in results:
        _echo(f"{'FAILED' if result.differences else 'passed'}  {result.name}")
        for difference in result.differences:
            _echo(f"        {difference}")
        failed += bool(result.differences)
    _echo(f"{len(results) - failed} of {len(results)} cases passed")
    if failed or not results:
        sys.exit(1)


@converter.command()
@CONFIG
@FILE
@click.option("--rows", type=click.IntRange(1), help="Read only so many rows; all without it.")
@AS_JSON
def explain(config: Path, file: str, rows: int | None, as_json: bool) -> None:
    """Count, per target field, the rows of FILE that gave a value, null or none, with types and samples."""
    compiled = _load(config, as_json)
    report = explain_rows(read_document(config), _first(read_rows(file, compiled.config), rows))
    if as_json:
        _print_json(report.as_json())
    else:
        _print_report(report)


def _print_report(report: Report) -> None:
    counts = f"{report.rows:,} rows: {report.events:,} events, {report.ignored:,} ignored"
    _echo(f"{counts}, {report.errors.total():,} without event")
    table = Table("target field", "value", "null", "none", "error", "types", "samples")
    for item in report.fields:
        types = ", ".join(f"{name} {count:,}" for name, count in item.types.most_common())
        samples = "\n".join(show_json(sample)[:80] for sample in item.samples)
        numbers = (item.values, item.nulls, item.missing, item.errors)
        table.add_row(_text(item.name), *(f"{number:,}" for number in numbers), types, _text(samples))
    console(160).print(table)
    for reason, count in report.errors.most_common(10):
        _echo(f"{count:,} × {reason}")
    if report.unused:
        _echo(f"source fields never used: {', '.join(report.unused)}")


@converter.command()
@FILE
@click.option(
    "--output", type=click.Path(path_type=Path, exists=False), help="Write here instead of to the screen."
)
def init(file: str, output: Path | None) -> None:
    """Propose a converter from a sample FILE (a path or s3://…): file type, likely columns, times."""
    file_keys = guess_config(file)
    plain = Converter.from_config({"converterConfig": {**file_keys, "convertToAmplitudeFunc": ["path"]}})
    document = propose(file, file_keys, _first(read_rows(file, plain.config), SAMPLE_ROWS))
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        _echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as target:
            target.write(_printable(text))
    except FileExistsError:
        raise click.ClickException(f"{output} exists already; it is left as it is") from None
    except OSError as error:
        raise click.ClickException(f"{output}: {error.strerror}") from None
    _echo(
        f"{output} written; look at rows beside their events with: sluice converter preview {output} {file}"
    )
