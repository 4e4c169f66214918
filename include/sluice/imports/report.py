"""What became of a run: per file and in all, for the log, the XCom and the person on call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sluice.imports.held import gate_of
from sluice.imports.session import ImportRun
from sluice.ledger import files
from sluice.ledger.files import SourceFile

# An XCom is no place for thousands of files: the ledger has them all.
_SHOWN_FILES = 100
_NOTED_FILES = 5
_COUNTS = ("rows_read", "loaded", "duplicate", "ignored", "rejected")


@dataclass(frozen=True)
class Report:
    """A run's files in their order; each is done, failed, or still on its way.

    `held` are files of other runs that wait behind a quality gate.
    """

    source: str
    files: Sequence[SourceFile]
    held: int = 0

    @property
    def failed(self) -> list[SourceFile]:
        """The files that failed."""
        return [file for file in self.files if file.state == "failed"]

    @property
    def unfinished(self) -> list[SourceFile]:
        """The files that a run has still to take up, or to take further."""
        return [file for file in self.files if file.state in ("discovered", "processing")]

    def totals(self) -> dict[str, int]:
        """Return the numbers of files and the sums of the row counts."""
        sums = {name: sum(getattr(file, name) or 0 for file in self.files) for name in _COUNTS}
        return {"files": len(self.files), "failed_files": len(self.failed), **sums}

    def note(self) -> str:
        """Say in a line what the run did, for the run's note: counts, and the first failed files."""
        totals = self.totals()
        held = [f"{self.held:,} files of other runs wait behind a quality gate."] if self.held else []
        if not self.files:
            return " ".join(["No new files.", *held])
        counts = ", ".join(f"{totals[name]:,} {name}" for name in _COUNTS[1:])
        parts = [f"{totals['files']:,} files, {totals['rows_read']:,} rows: {counts}."]
        if self.failed:
            names = ", ".join(file.name for file in self.failed[:_NOTED_FILES])
            more = len(self.failed) - _NOTED_FILES
            parts.append(f"Failed: {names}{f' and {more:,} more' if more > 0 else ''}.")
        if self.unfinished:
            parts.append(f"{len(self.unfinished):,} files still wait.")
        return " ".join([*parts, *held])

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON types, small enough for an XCom: 100 files at most, failed ones first."""
        ordered = [*self.failed, *(file for file in self.files if file.state != "failed")]
        shown = [
            {name: value for name, value in asdict(file).items() if name in _XCOM_FIELDS}
            for file in ordered[:_SHOWN_FILES]
        ]
        return {"source": self.source, **self.totals(), "shown": shown}

    def lines(self) -> Iterator[str]:
        """Write the report as text: one line a file, the faults below it, the sums last."""
        heads = ("read", "loaded", "duplicate", "ignored", "rejected")
        yield f"{'state':<8}" + "".join(f"{head:>12}" for head in heads) + f"{'seconds':>9}  file"
        for file in self.files:
            numbers = "".join(f"{getattr(file, name) or 0:>12,}" for name in _COUNTS)
            yield f"{file.state:<8}{numbers}{file.seconds or 0:>9.1f}  {file.name}"
            if file.reason:
                yield f"{'':10}{file.reason}"
            for title, counts in _remarks(file):
                for name, count in counts.items():
                    yield f"{'':10}{title}: {count:,} × {name}"
        totals = self.totals()
        numbers = "".join(f"{totals[name]:>12,}" for name in _COUNTS)
        yield f"{'sum':<8}{numbers}{'':>9}  {totals['files']:,} files, {totals['failed_files']:,} failed"
        if self.held:
            yield f"{self.held:,} files of other runs wait behind a quality gate: sluice quality list --held"


_XCOM_FIELDS = frozenset({"key", "state", "reason", "seconds", *_COUNTS})


def report_run(run: ImportRun) -> Report:
    """Read from the ledger what became of the files that a run took up or refused."""
    held = files.held(run.ledger, run.source.id)
    others = sum(count for name, count in held.items() if name != gate_of(run).run)
    return Report(run.source.id, files.of_run(run.ledger, run.source.id, run.run), others)


def _remarks(file: SourceFile) -> Iterator[tuple[str, dict[str, int]]]:
    report = file.report or {}
    if file.state != "failed":
        yield "rejected", report.get("reasons", {})
    yield "field left out", report.get("ignored_fields", {})
    yield "note", report.get("notes", {})
    yield "warning", report.get("unplanned", {})
