"""What is checked of a fixed turn before it is sent: its lists, its files, what the cohort's suite asks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from sluice.cohorts.list_files import (
    AMPLITUDE_ID,
    ENTER_VALUES,
    ENTERING,
    EXIT_VALUES,
    EXITING,
    MEMBERS,
    PROPERTY,
    VALUE,
)
from sluice.cohorts.reconcile import TurnLists, compare_members, compare_values, without_id
from sluice.cohorts.sent_lines import SentFile, messages_to_read, read_csv, read_messages
from sluice.cohorts.sorted_blocks import UnorderedList
from sluice.cohorts.staged_file import StagingError, checked
from sluice.cohorts.staging import download, reader
from sluice.config.cohort_destinations import KinesisCohortDestination
from sluice.config.syncs import Sync
from sluice.event_filters import identifier, literal
from sluice.lake import Lake
from sluice.ledger.syncs import Turn, TurnFile
from sluice.quality.counts import KEEPS, RECONCILIATION, keeps
from sluice.quality.gate import Checked
from sluice.quality.results import Expectation, Result
from sluice.quality.sample import RowPicker, columns_of, frame_of
from sluice.quality.suites import suite

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SETS = "existing(n) = (existing(n-1) ∪ entering) - exiting, as sets"
VALUE_SETS = "the values told to the stream, as sets"
FILES = "the staged files and what was fixed"
_RELATION = "members"


def built_in(sync: Sync) -> tuple[Expectation, ...]:
    """Return what is expected of every cohort; that its sets agree is besides, and never configured."""
    return (
        Expectation(
            "expect_column_values_to_not_be_null",
            {"column": AMPLITUDE_ID},
            notes="Every member has an Amplitude ID.",
        ),
        Expectation(
            "expect_compound_columns_to_be_unique",
            {"column_list": [AMPLITUDE_ID, sync.destination.match_by]},
            notes="A member is there once.",
        ),
        Expectation(
            KEEPS, {}, notes="A cohort that loses most of its members is more likely a broken query."
        ),
    )


@dataclass
class TurnCheck:
    """One check of a turn; `baseline` is the delivered turn before it, `unsure` the one given up last."""

    sync: Sync
    lake: Lake
    turn: Turn
    baseline: Turn | None
    unsure: Turn | None
    folder: Path
    _damaged: dict[str, str] = field(default_factory=dict)

    def run(self) -> Checked:
        """Return what every expectation gave."""
        lists = self._lists()
        sent, sampled = self._sent()
        results = [self._files(sent)]
        if lists is not None:
            expectations = suite(built_in(self.sync), self.sync.cohort.quality)
            results += self._of_lists(lists, [each for each in expectations if not each.configured])
            results += self._configured(lists.members, [each for each in expectations if each.configured])
        for _, found in sent:
            results += found.results
        return Checked(results, self.turn.counts["existing"], sampled)

    # --- What lies staged ---

    def _lists(self) -> TurnLists | None:
        """Fetch the turn's lists and those that it follows on; None if any of them is damaged."""
        members = self._fetch(self.turn, MEMBERS)
        if self.turn.kind != "regular":
            # A full list of the past: no step of the chain.
            return None if members is None else TurnLists(members)
        streamed = isinstance(self.sync.destination, KinesisCohortDestination)
        lists = {
            "members": members,
            "entering": self._fetch(self.turn, ENTERING),
            "exiting": self._fetch(self.turn, EXITING),
        }
        if streamed:
            lists |= {
                "enter_values": self._fetch(self.turn, ENTER_VALUES),
                "exit_values": self._fetch(self.turn, EXIT_VALUES),
            }
        if self.baseline is not None:
            lists["baseline"] = self._fetch(self.baseline, MEMBERS)
        unsure: dict[str, list[Path | None]] = {"unsure": [], "unsure_values": []}
        if self.unsure is not None:
            unsure["unsure"] = [self._fetch(self.unsure, name) for name in (ENTERING, EXITING)]
            if streamed:
                names = (ENTER_VALUES, EXIT_VALUES)
                unsure["unsure_values"] = [self._fetch(self.unsure, name) for name in names]
        if self._damaged:
            return None
        return TurnLists(**lists, **unsure)  # type: ignore[arg-type]

    def _fetch(self, turn: Turn, name: str) -> Path | None:
        try:
            return download(self.lake, turn, name, self.folder / f"{turn.number}-{name}")
        except StagingError:
            which = "" if turn is self.turn else f" of the turn as of {turn.as_of:%Y-%m-%d %H:%M} UTC"
            self._damaged[name + which] = "is gone, or has other bytes than were fixed"
            return None

    def _sent(self) -> tuple[list[tuple[TurnFile, SentFile]], int]:
        """Read what leaves; return what was found of each file, and how many lines were looked at."""
        found = []
        for file in self.turn.sent_files:
            try:
                found.append((file, self._read(file)))
            except StagingError:
                self._damaged[file.name] = "is gone, or has other bytes than were fixed"
        return found, sum(sent.sampled for _, sent in found)

    def _read(self, file: TurnFile) -> SentFile:
        chunks = checked(file, reader(self.lake, self.turn)(file), "")
        rows, seed = self.sync.cohort.quality.sample_rows, f"{self.turn.folder}/{file.name}"
        destination = self.sync.destination
        if isinstance(destination, KinesisCohortDestination):
            users = self.turn.counts["enter_values"] + self.turn.counts["exit_values"]
            picker = RowPicker(file.rows, messages_to_read(file.rows, users, rows), seed)
            return read_messages(file.name, chunks, picker)
        return read_csv(file.name, chunks, RowPicker(file.rows, rows, seed))

    def _files(self, sent: list[tuple[TurnFile, SentFile]]) -> Result:
        """Judge the files by their bytes, their rows, and the turn's counts."""
        counts = self.turn.counts
        wrong = [f"{name} {what}" for name, what in self._damaged.items()]
        for file, found in sent:
            if found.lines != file.rows:
                wrong.append(f"{file.name} has {found.lines:,} rows, {file.rows:,} were fixed")
        of = {MEMBERS: "existing", ENTERING: "entering", EXITING: "exiting"}
        of |= {ENTER_VALUES: "enter_values", EXIT_VALUES: "exit_values"}
        for name, count in of.items():
            path, file_ = self.folder / f"{self.turn.number}-{name}", self.turn.file(name)
            if file_ is None or name in self._damaged:
                continue
            rows = pq.read_metadata(path).num_rows
            if not rows == file_.rows == counts[count]:
                wrong.append(f"{name} has {rows:,} rows, {counts[count]:,} were fixed")
        for name, count in (("entering.csv", "entering"), ("exiting.csv", "exiting")):
            sent_file = self.turn.file(name)
            if sent_file is not None and sent_file.rows != counts[count]:
                wrong.append(f"{name} has {sent_file.rows:,} rows, its list has {counts[count]:,}")
        names = len([file for file in self.turn.files if file.sent or file.name in of])
        observed = "; ".join(wrong) or f"{names} files, as they were fixed"
        return _reconciled(FILES, not wrong, names, observed)

    # --- The lists ---

    def _of_lists(self, lists: TurnLists, expectations: list[Expectation]) -> list[Result]:
        """Judge the built-in expectations and the sets, in one pass over the lists side by side."""
        members = self.turn.counts["existing"]
        nulls = without_id(lists.members)
        reconciled = reconcile(lists, members) if not nulls else _incomparable(nulls)
        wrong = {
            "expect_column_values_to_not_be_null": nulls,
            "expect_compound_columns_to_be_unique": reconciled.doubled,
        }
        results = []
        for each in expectations:
            if each.type == KEEPS:
                results.append(self._keeps(each))
            elif (count := wrong[each.type]) is None:
                reason = "the members could not be compared with one another"
                results.append(Result(each, False, "exact", error=reason))
            else:
                results.append(Result(each, count == 0, "exact", checked=members, unexpected=count))
        return [*results, *reconciled.results]

    def _keeps(self, expectation: Expectation) -> Result:
        before = None if self.baseline is None else self.baseline.counts["existing"]
        return keeps(expectation, self.turn.counts["existing"], before)

    # --- What the cohort's suite asks ---

    def _configured(self, members: Path, expectations: list[Expectation]) -> list[Result]:
        results = [self._keeps(each) for each in expectations if each.type == KEEPS]
        columns = _columns(members, self.sync.destination.match_by)
        others = [each for each in expectations if each.type != KEEPS]
        asked = list(_of_this_sync(self.sync, {AMPLITUDE_ID, *columns.values()}, others))
        if not asked:
            return results
        from sluice.lake.sql import connect
        from sluice.quality.evaluate import evaluate

        named = ", ".join(f"{identifier(stored)} AS {identifier(name)}" for stored, name in columns.items())
        settings = self.sync.cohort.quality

        def frame() -> pd.DataFrame:
            return frame_of(self._sample(members, columns), asked)

        with connect() as connection:
            connection.execute(
                f"CREATE VIEW {_RELATION} AS SELECT {AMPLITUDE_ID}, {named}"
                f" FROM read_parquet({literal(members)})"
            )
            found = evaluate(
                asked,
                connection,
                _RELATION,
                frame if settings.sample_rows else None,
                show_values=settings.show_values,
            )
        return results + found[None]

    def _sample(self, members: Path, columns: Mapping[str, str]) -> list[dict[str, Any]]:
        settings = self.sync.cohort.quality
        picker = RowPicker(self.turn.counts["existing"], settings.sample_rows, self.turn.folder)
        rows: list[dict[str, Any]] = []
        start = 0
        with pq.ParquetFile(members) as file:
            for batch in file.iter_batches(columns=[AMPLITUDE_ID, *columns]):
                batch = batch.rename_columns([AMPLITUDE_ID, *columns.values()])
                rows += batch.take(picker.pick(start, len(batch))).to_pylist()
                start += len(batch)
        return rows


@dataclass(frozen=True)
class Reconciled:
    """What came of comparing a turn's lists as sets, and how many members are there again.

    `doubled` is None where the lists are such that nothing can be compared.
    """

    results: list[Result]
    doubled: int | None

    @property
    def wrong(self) -> str | None:
        """What does not agree, in a sentence; None if all does."""
        said = [
            f"{each.expectation.kwargs['of']}: {each.observed}" for each in self.results if not each.success
        ]
        return "; ".join(said) or None


def reconcile(lists: TurnLists, members: int) -> Reconciled:
    """Compare a turn's lists with those that it follows on: always, whatever the cohort's suite says."""
    try:
        found = compare_members(lists)
    except UnorderedList as error:
        return Reconciled([_reconciled(SETS, False, members, str(error))], None)
    if lists.entering is None:
        return Reconciled([], found.doubled)
    results = [_reconciled(SETS, not found.of_sets, members, str(found) or "they are equal")]
    if lists.enter_values is not None:
        of_values = compare_values(lists)
        right = not of_values.of_sets and not of_values.doubled
        again = f"{of_values.doubled:,} are there more than once" if of_values.doubled else ""
        said = "; ".join(part for part in (str(of_values), again) if part)
        results.append(_reconciled(VALUE_SETS, right, members, said or "they are equal"))
    return Reconciled(results, found.doubled)


def _incomparable(nulls: int) -> Reconciled:
    return Reconciled([_reconciled(SETS, False, 0, f"{nulls:,} members have no {AMPLITUDE_ID}")], None)


def _reconciled(of: str, success: bool, checked: int, observed: str) -> Result:
    return Result(
        Expectation(RECONCILIATION, {"of": of}), success, "reconciliation", checked=checked, observed=observed
    )


def _columns(members: Path, match_by: str) -> dict[str, str]:
    """Return the names by which expectations know a list's columns besides amplitude_id, by those it has."""
    properties = {name: name.removeprefix(PROPERTY) for name in pq.read_schema(members).names}
    taken = (AMPLITUDE_ID, match_by)
    return {VALUE: match_by} | {
        column: name
        for column, name in properties.items()
        if column.startswith(PROPERTY) and name not in taken
    }


def _of_this_sync(sync: Sync, there: Set[str], expectations: Iterable[Expectation]) -> Iterable[Expectation]:
    """Give those that are about what a sync sends; of a portfolio, one for each project's column."""
    for expectation in expectations:
        named = columns_of(expectation)
        versions = [expectation]
        if sync.sources and any(
            _base(name, sync.cohort.properties) in sync.cohort.properties for name in named
        ):
            versions = [
                _renamed(expectation, sync.cohort.properties, project.name) for project in sync.sources
            ]
        for version in versions:
            missing = [name for name in columns_of(version) if _base(name, there) not in there]
            if missing:
                log.info("Not looked at: %s; the sync %s sends no %s.", version, sync.id, missing[0])
            else:
                yield version


def _base(name: str, columns: Iterable[str]) -> str:
    """Return the column of a name, which may be dotted: a member of the column's JSON."""
    return name if name in columns else name.partition(".")[0]


def _renamed(expectation: Expectation, properties: tuple[str, ...], project: str) -> Expectation:
    """Return an expectation about a portfolio's properties for the columns of one of its projects."""

    def of_project(name: str) -> str:
        base = _base(name, properties)
        if base not in properties:
            return name
        return f"{base} ({project}){name.removeprefix(base)}"

    kwargs = dict(expectation.kwargs)
    for key in ("column", "column_A", "column_B"):
        if key in kwargs:
            kwargs[key] = of_project(kwargs[key])
    if "column_list" in kwargs:
        kwargs["column_list"] = [of_project(name) for name in kwargs["column_list"]]
    return replace(expectation, kwargs=kwargs)
