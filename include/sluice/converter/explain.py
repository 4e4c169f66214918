"""What a converter makes of a whole file: per target field, how many rows gave what."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sluice.converter.compiler import Compiler, TooLarge
from sluice.converter.converter import Converter, now_ms
from sluice.converter.outcomes import MISSING, Json, RowError, Source
from sluice.converter.structure import type_name

MAX_SAMPLES = 3


@dataclass
class FieldReport:
    """What one target field got: rows with a value, with null, with no value, and with an error."""

    name: str
    values: int = 0
    nulls: int = 0
    missing: int = 0
    errors: int = 0
    types: Counter[str] = field(default_factory=Counter)
    samples: list[Json] = field(default_factory=list)

    def add(self, value: Json) -> None:
        """Count the outcome of one row."""
        if value is MISSING:
            self.missing += 1
        elif value is None:
            self.nulls += 1
        else:
            self.values += 1
            self.types[type_name(value)] += 1
            if len(self.samples) < MAX_SAMPLES and value not in self.samples:
                self.samples.append(value)


@dataclass
class Report:
    """What a converter made of a file."""

    rows: int = 0
    events: int = 0
    ignored: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    fields: list[FieldReport] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    """Source fields that no row's mapping reads."""

    def as_json(self) -> dict[str, Any]:
        """Give the report as JSON."""
        return {
            "rows": self.rows,
            "events": self.events,
            "ignored": self.ignored,
            "errors": dict(self.errors),
            "fields": [{**vars(item), "types": dict(item.types)} for item in self.fields],
            "unused_source_fields": self.unused,
        }


def target_sources(document: Json) -> list[tuple[str, Source]]:
    """Compile each target field of a valid configuration on its own; nested objects by their members, with
    dots.
    """
    return list(_members(Compiler(), document["converterConfig"]["convertToAmplitudeFunc"], ""))


def _members(compiler: Compiler, description: Json, prefix: str) -> Iterator[tuple[str, Source]]:
    if isinstance(description, dict) and description:
        for name, member in description.items():
            yield from _members(compiler, member, f"{prefix}.{name}" if prefix else name)
        return
    with contextlib.suppress(TooLarge):
        yield prefix or "(event)", compiler.source(description, "")


def explain(document: Json, rows: Iterable[dict[str, Json] | RowError]) -> Report:
    """Convert all rows and count; the configuration must be valid (ConfigError otherwise)."""
    converter = Converter.from_config(document)
    report = Report()
    clock = now_ms()
    sources = target_sources(document)
    report.fields = [FieldReport(name) for name, _ in sources]
    seen: dict[str, None] = {}
    for row in rows:
        report.rows += 1
        if isinstance(row, RowError):
            report.errors[str(row)] += 1
            continue
        seen |= dict.fromkeys(row)
        for field_report, (_, source) in zip(report.fields, sources, strict=True):
            try:
                field_report.add(source(row, clock))
            except RowError:
                field_report.errors += 1
        try:
            event = converter.convert(row, clock_ms=clock)
        except RowError as error:
            report.errors[str(error)] += 1
        else:
            report.events += event is not None
            report.ignored += event is None
    if not converter.usage.whole_row:
        report.unused = [name for name in seen if name not in converter.usage.fields]
    return report
