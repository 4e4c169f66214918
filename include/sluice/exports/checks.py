"""What the expectations of a destination say of hours that are staged: of one, or of many at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from sluice.config import ExportConfig
from sluice.event_columns import EVENT_COLUMNS, Kind
from sluice.event_filters import identifier
from sluice.event_schema import EXPORT_KEYS
from sluice.exports.form import filter_hash
from sluice.exports.gate_rows import HOUR_SQL, GateRows, hour_number
from sluice.exports.line_form import event_of, line_results
from sluice.exports.lines import export_keys
from sluice.exports.ranges import HOUR
from sluice.exports.staged import StagedHour
from sluice.lake import EventReader, Lake
from sluice.lake.sql import connect
from sluice.ledger import Ledger, exported
from sluice.quality import counts
from sluice.quality.evaluate import evaluate
from sluice.quality.exact import is_exact
from sluice.quality.gate import Checked
from sluice.quality.results import Expectation, Result
from sluice.quality.sample import columns_of, frame_of
from sluice.quality.suites import suite

if TYPE_CHECKING:
    import pandas as pd

# What is expected of the rows of every hour. An event may lack its user or its device, not what follows.
BUILT_IN = (
    Expectation("expect_column_values_to_not_be_null", {"column": "uuid"}),
    Expectation("expect_column_values_to_be_unique", {"column": "uuid"}),
    Expectation("expect_column_values_to_not_be_null", {"column": "event_type"}),
    Expectation("expect_column_values_to_not_be_null", {"column": "amplitude_id"}),
    Expectation("expect_column_values_to_not_be_null", {"column": "server_upload_time"}),
    Expectation(counts.LIKE_WEEKS_BEFORE, {}, "warning"),
)
_READ, _ROWS, _NO_ROWS = "read", "rows", "no_rows"
_SQL_TYPES: dict[Kind, str] = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "decimal": "DOUBLE",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMPTZ",
    "json": "VARCHAR",
}
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Candidate:
    """A staged hour as its gate sees it; `lines` is the sample of its lines, None if none was taken."""

    hour: datetime
    staged: StagedHour
    lines: Sequence[bytes] | None


class HourChecks:
    """Checks staged hours of one destination; the lake's list of files is asked for once per version."""

    def __init__(self, config: ExportConfig, lake: Lake, ledger: Ledger) -> None:
        self._config = config
        self._lake = lake
        self._ledger = ledger
        self._reader: EventReader | None = None
        expected = suite(BUILT_IN, config.quality)
        self._history = [each for each in expected if each.type == counts.LIKE_WEEKS_BEFORE]
        self._of_rows = [each for each in expected if each not in self._history]
        self._sampled = [each for each in self._of_rows if not is_exact(each)]
        # A property is in the column that its name begins with.
        named = {
            name.split(".", 1)[0] for each in self._of_rows if is_exact(each) for name in columns_of(each)
        }
        self._columns = [name for name in EXPORT_KEYS if name in named]

    def check(self, project: int, hours: Sequence[Candidate]) -> dict[datetime, Checked]:
        """Check hours that were staged at one version of the lake: their rows are read once, all together."""
        (version,) = {one.staged.content.version for one in hours}
        # Also those without events in the ledger: the lake may know better.
        wanted = [one.hour for one in hours]
        rows = GateRows(self._at(version), project, wanted, self._columns, self._config.filter)
        with connect() as engine:
            found = self._evaluated(engine, rows, hours)
        rows.count()
        before = self._rows_before(project, hours)
        return {
            one.hour: Checked(
                [
                    *_reconciled(one, rows),
                    *found[one.hour],
                    *self._of_lines(project, one),
                    *(self._like_before(each, one, before) for each in self._history),
                ],
                rows=one.staged.rows,
                sampled=len(one.lines or ()),
            )
            for one in hours
        }

    def _at(self, version: int) -> EventReader:
        if self._reader is None or self._reader.version != version:
            self._reader = EventReader(self._lake, version)
        return self._reader

    def _evaluated(
        self, engine: duckdb.DuckDBPyConnection, rows: GateRows, hours: Sequence[Candidate]
    ) -> dict[datetime, list[Result]]:
        engine.register(_READ, rows)
        self._name_columns(engine)
        several = len(hours) > 1

        def frame() -> pd.DataFrame:
            lines = [(hour_number(one.hour), line) for one in hours for line in one.lines or ()]
            groups = [number for number, _ in lines] if several else None
            return frame_of([event_of(line) for _, line in lines], self._sampled, groups=groups)

        try:
            found = evaluate(
                self._of_rows,
                engine,
                _ROWS,
                frame if self._config.quality.sample_rows else None,
                show_values=self._config.quality.show_values,
                by=HOUR_SQL if several else None,
            )
        except Exception:
            # What the lake's reading failed with says more than what the engine made of it.
            if rows.failure is not None:
                raise rows.failure from None
            raise
        if rows.failure is not None:
            raise rows.failure
        if not several:
            return {hours[0].hour: found[None]}
        empty: list[Result] | None = None
        by_hour: dict[datetime, list[Result]] = {}
        for one in hours:
            results = found.get(hour_number(one.hour))
            if results is None:
                empty = empty or self._of_nothing(engine)
                results = empty
            by_hour[one.hour] = results
        return by_hour

    def _name_columns(self, engine: duckdb.DuckDBPyConnection) -> None:
        """Give the rows every column of a line; those that no aggregate needs are not read, and null."""
        names = dict.fromkeys([*export_keys(self._config.dialect), *self._columns])
        read = {*self._columns, "server_upload_time"}
        columns = ", ".join(
            identifier(name)
            if name in read
            else f"NULL::{_SQL_TYPES[EVENT_COLUMNS[name]]} AS {identifier(name)}"
            for name in names
        )
        engine.execute(f"CREATE VIEW {_ROWS} AS SELECT {columns} FROM {_READ}")
        engine.execute(f"CREATE VIEW {_NO_ROWS} AS SELECT * FROM {_ROWS} WHERE false")

    def _of_nothing(self, engine: duckdb.DuckDBPyConnection) -> list[Result]:
        """Return what the expectations say of an hour without events."""
        found: Mapping[Hashable, list[Result]] = evaluate(
            self._of_rows, engine, _NO_ROWS, lambda: frame_of([], self._sampled)
        )
        return found[None]

    def _of_lines(self, project: int, one: Candidate) -> list[Result]:
        if not self._config.quality.sample_rows:
            return []
        found = line_results(one.lines or (), dialect=self._config.dialect, project=project, hour=one.hour)
        if one.lines is not None:
            return found
        why = "no sample of its lines was taken: clear export_events, which stages the hour anew"
        return [Result(each.expectation, False, "sample", error=why) for each in found]

    def _rows_before(self, project: int, hours: Sequence[Candidate]) -> dict[datetime, int]:
        wanted = {hour for one in hours for each in self._history for hour in _weeks_before(each, one.hour)}
        if not wanted:
            return {}
        return exported.published_rows(
            self._ledger, self._config.id, project, wanted, filter_hash(self._config)
        )

    def _like_before(self, each: Expectation, one: Candidate, before: dict[datetime, int]) -> Result:
        earlier = [before[hour] for hour in _weeks_before(each, one.hour) if hour in before]
        return counts.like_weeks_before(each, one.staged.rows, earlier)


def _weeks_before(expectation: Expectation, hour: datetime) -> list[datetime]:
    weeks: Any = counts.arguments(expectation)["weeks"]
    return [hour - n * _WEEK for n in range(1, int(weeks) + 1)]


def _reconciled(one: Candidate, rows: GateRows) -> list[Result]:
    """Compare what is in the files with the lake and the ledger, and their times with the hour."""
    number = hour_number(one.hour)
    staged = one.staged
    times = [
        time for file in staged.files for time in (file.facts.first_upload_time, file.facts.last_upload_time)
    ]
    outside = sum(not one.hour <= time < one.hour + HOUR for time in times)
    return [
        counts.reconciliation(
            "lines of the files with the lake",
            staged.rows,
            rows.let_through[number],
            names=("lines in the hour's files", "events in the lake under the filter"),
        ),
        counts.reconciliation(
            "the lake with the ledger",
            rows.in_lake[number],
            staged.content.fingerprint.rows,
            names=("events of the hour in the lake", "in the ledger"),
        ),
        Result(
            Expectation("expect_files_within_the_hour"),
            not outside,
            "exact",
            checked=staged.rows,
            observed=f"{outside} of {len(times)} first and last server_upload_times lie outside",
        ),
    ]
