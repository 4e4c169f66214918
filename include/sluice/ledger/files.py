"""The files of import sources: found once, claimed by one worker, and what became of them (decisions I-9).

States: `discovered`, `processing` (claimed; with `staged` set, converted and waiting for its load), `done`,
`failed`, and `given_up`, which a person makes of a failed one. `done`, and `failed` after conversion, are
written by the projection of the lake's log.

What a run has staged and a quality gate holds stays `processing`, and no other run takes it for abandoned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, null, or_, select, tuple_, update

from sluice.ledger.database import Ledger, now
from sluice.ledger.quality import still_waiting
from sluice.ledger.tables import files, quality_gates
from sluice.ledger.types import UtcDateTime, utc_now


@dataclass(frozen=True)
class NewFile:
    """An object as it was listed; `reason` is set if it fails at once, without being read."""

    key: str
    etag: str
    size: int
    last_modified: datetime
    reason: str | None = None


@dataclass(frozen=True)
class SourceFile:
    """A file as the ledger has it. `staged` says where its converted rows wait, None before conversion."""

    bucket: str
    key: str
    etag: str
    size: int
    last_modified: datetime
    converter_hash: str
    state: str
    reason: str | None
    staged: dict[str, Any] | None
    report: dict[str, Any] | None
    rows_read: int | None
    loaded: int | None
    duplicate: int | None
    ignored: int | None
    rejected: int | None
    seconds: float | None

    @property
    def name(self) -> str:
        """What people call it: its key, or which rows of which object it holds."""
        number = origin(self.bucket)[1]
        return f"{self.key} (its rejected rows, {number})" if number else self.key

    @property
    def is_again(self) -> bool:
        """Whether it holds rejected rows of an object that are imported again (sluice.ledger.again)."""
        return origin(self.bucket)[1] > 0

    @property
    def place(self) -> tuple[datetime, str]:
        """The file's place in its source's order: LastModified, then key (decisions I-10)."""
        return self.last_modified, self.key


def origin(bucket: str) -> tuple[str, int]:
    """Take apart a file's bucket: the bucket proper, and how often its rejected rows were taken again.

    The number is 0 for an object as it was uploaded (sluice.ledger.again).
    """
    name, _, number = bucket.partition("#")
    return name, int(number or 0)


# What a file that was just found does not have yet.
_BLANK = dict.fromkeys(
    (
        *(
            "reason",
            "claimed_by",
            "claimed_until",
            "staged",
            "report",
            "load_number",
            "finished_at",
            "seconds",
        ),
        *("rows_read", "loaded", "duplicate", "ignored", "rejected"),
    )
)
_SOURCE_FILE = [files.c[name] for name in SourceFile.__dataclass_fields__]


def add_new(
    ledger: Ledger, source: str, bucket: str, found: Sequence[NewFile], converter_hash: str, run: str
) -> tuple[list[NewFile], list[tuple[NewFile, str]]]:
    """Record the files that the source has not seen yet.

    Returns the new ones, and the known ones whose ETag is another now, with the recorded ETag; a known file
    stays as it is. `found` is a page of a listing: its keys go into one statement.
    """
    with ledger.begin() as connection:
        recorded: dict[str, str] = {
            row.key: row.etag
            for row in connection.execute(
                select(files.c.key, files.c.etag).where(
                    files.c.source == source,
                    files.c.bucket == bucket,
                    files.c.key.in_([file.key for file in found]),
                )
            )
        }
        changed = [
            (file, recorded[file.key]) for file in found if recorded.get(file.key, file.etag) != file.etag
        ]
        unknown = {file.key: file for file in found if file.key not in recorded}
        if not unknown:
            return [], changed
        moment = now(connection)
        # Another scan of the same source may have been quicker.
        statement = ledger.insert(files).on_conflict_do_nothing().returning(files.c.key)
        rows = [
            {
                "source": source,
                "bucket": bucket,
                "key": file.key,
                "etag": file.etag,
                "size": file.size,
                "last_modified": file.last_modified,
                "converter_hash": converter_hash,
                "state": "failed" if file.reason else "discovered",
                "reason": file.reason,
                "discovered_at": moment,
                "finished_at": moment if file.reason else None,
                "report": {"run": run} if file.reason else None,
            }
            for file in unknown.values()
        ]
        # Rows apart from the statement: SQLAlchemy compiles it once and sends them in blocks.
        added = connection.execute(statement, rows).scalars()
        return [unknown[key] for key in added], changed


def take_back(ledger: Ledger, source: str, run: str) -> None:
    """Free what tasks of this run claimed in an earlier attempt of the run: none of them lives any more."""
    with ledger.begin() as connection:
        connection.execute(
            update(files)
            .where(files.c.source == source, files.c.state == "processing", _of_run(run))
            .values(claimed_by=None, claimed_until=None)
        )


def waiting(ledger: Ledger, source: str, run: str = "") -> Iterator[SourceFile]:
    """Stream the files that wait for a worker, or whose worker is gone, in their order (decisions I-10).

    Those that a gate holds for another run than `run` are not among them.
    """
    with ledger.begin() as connection:
        yield from _stream(
            connection.execution_options(yield_per=1000).execute(
                select(*_SOURCE_FILE)
                .where(files.c.source == source, _free(run))
                .order_by(files.c.last_modified, files.c.key)
            )
        )


def between(
    ledger: Ledger, source: str, first: tuple[datetime, str], last: tuple[datetime, str]
) -> list[SourceFile]:
    """Return the unfinished files of a source from one place in its order to another, both included."""
    place = tuple_(files.c.last_modified, files.c.key)
    low, high = (tuple_(literal(moment, UtcDateTime), literal(key)) for moment, key in (first, last))
    with ledger.begin() as connection:
        rows = connection.execute(
            select(*_SOURCE_FILE)
            .where(
                files.c.source == source,
                files.c.state.in_(["discovered", "processing"]),
                place >= low,
                place <= high,
            )
            .order_by(files.c.last_modified, files.c.key)
        )
        return list(_stream(rows))


def claim(ledger: Ledger, source: str, file: SourceFile, holder: str, seconds: float) -> SourceFile | None:
    """Claim a file for one worker; None if another has it, a gate holds it for another, or it is finished.

    One statement, so that two workers never take one file; a worker that is started again as `holder` gets
    its own files back at once, others get them when the claim has run out.
    """
    with ledger.begin() as connection:
        row = connection.execute(
            update(files)
            .where(
                _is(source, file),
                or_(
                    _free(run_of(holder)),
                    and_(files.c.state == "processing", files.c.claimed_by == holder),
                ),
            )
            .values(
                state="processing",
                claimed_by=holder,
                claimed_until=now(connection) + timedelta(seconds=seconds),
            )
            .returning(*_SOURCE_FILE)
        ).first()
    return SourceFile(**row._mapping) if row else None


def keep(ledger: Ledger, source: str, file: SourceFile, holder: str, seconds: float) -> bool:
    """Prolong a claim; False if it went to another worker meanwhile."""
    return _update_held(ledger, source, file, holder, seconds, {})


def stage(
    ledger: Ledger,
    source: str,
    file: SourceFile,
    holder: str,
    seconds: float,
    *,
    staged: dict[str, Any],
    report: dict[str, Any],
    took: float,
) -> bool:
    """Record where a converted file waits for its load; False if the claim went to another worker."""
    facts = {"staged": staged, "report": report, "seconds": took}
    return _update_held(ledger, source, file, holder, seconds, facts)


def staged_by(ledger: Ledger, source: str, run: str) -> list[SourceFile]:
    """Return the converted files that a run has and that are not loaded yet, in their order.

    Where one of its workers died, there may be some among them that another run has staged.
    """
    with ledger.begin() as connection:
        rows = connection.execute(
            select(*_SOURCE_FILE)
            .where(files.c.source == source, files.c.state == "processing", _of_run(run))
            .order_by(files.c.last_modified, files.c.key)
        )
        return [file for file in _stream(rows) if file.staged]


def staged_of(ledger: Ledger, source: str, run: str) -> list[SourceFile]:
    """Return all files whose rows a run has staged, in their order, until it forgets where.

    Those that are loaded already are among them: what a gate has checked is known by all of them.
    """
    with ledger.begin() as connection:
        rows = connection.execute(
            select(*_SOURCE_FILE)
            .where(files.c.source == source, _staged_by(run))
            .order_by(files.c.last_modified, files.c.key, files.c.bucket)
        )
        return list(_stream(rows))


def held(ledger: Ledger, source: str) -> dict[str, int]:
    """Return how many files wait behind a quality gate, by the run as its gate has it."""
    with ledger.begin() as connection:
        rows = connection.execute(
            select(_gate_run().label("run"), func.count())
            .where(files.c.source == source, files.c.state == "processing", _held())
            .group_by("run")
        )
        return {run: int(count) for run, count in rows}


def runs_of_held(ledger: Ledger) -> set[tuple[str, str]]:
    """Return (source, run) of every run whose staged files wait behind a quality gate."""
    run = files.c.staged["run"].as_string()
    with ledger.begin() as connection:
        rows = connection.execute(
            select(files.c.source, run).where(files.c.state == "processing", _held()).distinct()
        )
        return {(source, name) for source, name in rows}


def stop(ledger: Ledger, source: str, run: str, reason: str, until: datetime) -> int:
    """Make the files failed that a run has staged and not loaded; return how many they are.

    Only those found until then: what somebody let wait again since is left alone. A file that had failed
    already keeps its own reason before this one.
    """
    own = files.c.staged["failed"].as_string()
    with ledger.begin() as connection:
        return connection.execute(
            update(files)
            .where(
                files.c.source == source,
                files.c.state == "processing",
                _staged_by(run),
                files.c.discovered_at <= until,
            )
            .values(
                state="failed",
                reason=case((own.is_not(None), own + " " + literal(reason)), else_=reason),
                finished_at=now(connection),
                claimed_by=None,
                claimed_until=None,
                staged=null(),
            )
        ).rowcount


def of_run(ledger: Ledger, source: str, run: str) -> list[SourceFile]:
    """Return the files that a run took up or refused, in their order."""
    with ledger.begin() as connection:
        rows = connection.execute(
            select(*_SOURCE_FILE)
            .where(files.c.source == source, files.c.report["run"].as_string() == run)
            .order_by(files.c.last_modified, files.c.key)
        )
        return list(_stream(rows))


def forget_staging(ledger: Ledger, source: str, run: str) -> None:
    """Clear where a run's finished files were staged, before the staged files are removed."""
    with ledger.begin() as connection:
        connection.execute(
            update(files)
            .where(
                files.c.source == source,
                files.c.state.in_(["done", "failed"]),
                files.c.report["run"].as_string() == run,
            )
            .values(staged=None)
        )


def give_up_claims(ledger: Ledger, before: datetime) -> int:
    """Let files whose claim ran out before a time wait as if they had just been found; return how many.

    Those that a gate holds stay.
    """
    with ledger.begin() as connection:
        return connection.execute(
            update(files)
            .where(files.c.state == "processing", files.c.claimed_until < before, ~_held())
            .values(state="discovered", claimed_by=None, claimed_until=None, staged=null())
        ).rowcount


def runs_of_staged(ledger: Ledger) -> set[tuple[str, str]]:
    """Return (source, run) of every run that converted files which still wait for their load."""
    run = files.c.staged["run"].as_string()
    with ledger.begin() as connection:
        rows = connection.execute(
            select(files.c.source, run).where(files.c.state == "processing", run.is_not(None)).distinct()
        )
        return {(source, name) for source, name in rows}


def runs_at_work(ledger: Ledger) -> set[tuple[str, str]]:
    """Return (source, run) of every run that holds a live claim."""
    with ledger.begin() as connection:
        rows = connection.execute(
            select(files.c.source, files.c.claimed_by)
            .where(files.c.state == "processing", files.c.claimed_until > utc_now())
            .distinct()
        )
        return {(source, run_of(holder)) for source, holder in rows}


@dataclass(frozen=True)
class Summary:
    """The files of a source in one state: how many, the sums of their rows, and when the newest finished."""

    state: str
    files: int
    rows_read: int
    loaded: int
    duplicate: int
    ignored: int
    rejected: int
    newest: datetime | None


def summaries(ledger: Ledger, source: str) -> list[Summary]:
    """Return what there is of a source, by state."""
    counts = [
        func.coalesce(func.sum(files.c[name]), 0)
        for name in ("rows_read", "loaded", "duplicate", "ignored", "rejected")
    ]
    with ledger.begin() as connection:
        rows = connection.execute(
            select(files.c.state, func.count(), *counts, func.max(files.c.finished_at, type_=UtcDateTime()))
            .where(files.c.source == source)
            .group_by(files.c.state)
            .order_by(files.c.state)
        )
        # A sum of big integers is a decimal on PostgreSQL.
        return [
            Summary(state, many, int(read), int(loaded), int(duplicate), int(ignored), int(rejected), newest)
            for state, many, read, loaded, duplicate, ignored, rejected, newest in rows
        ]


def of_source(ledger: Ledger, source: str, state: str | None = None) -> Iterator[SourceFile]:
    """Stream a source's files, or those in one state, in their order."""
    query = select(*_SOURCE_FILE).where(files.c.source == source)
    if state is not None:
        query = query.where(files.c.state == state)
    with ledger.begin() as connection:
        yield from _stream(
            connection.execution_options(yield_per=1000).execute(
                query.order_by(files.c.last_modified, files.c.key)
            )
        )


def find(ledger: Ledger, source: str, bucket: str, key: str) -> SourceFile | None:
    """Return one file of a source, or None if it was never found."""
    with ledger.begin() as connection:
        row = connection.execute(
            select(*_SOURCE_FILE).where(
                files.c.source == source, files.c.bucket == bucket, files.c.key == key
            )
        ).first()
    return SourceFile(**row._mapping) if row else None


def retry(ledger: Ledger, source: str, bucket: str, found: NewFile, converter_hash: str) -> bool:
    """Make a failed or given-up file one that was just found, as the object is now; False if it is neither.

    All that the failed attempt left in the row goes, above all the number of the commit that has its
    failure: a file with one counts as loaded.
    """
    with ledger.begin() as connection:
        row = connection.execute(
            update(files)
            .where(
                files.c.source == source,
                files.c.bucket == bucket,
                files.c.key == found.key,
                files.c.state.in_(["failed", "given_up"]),
            )
            .values(
                **_BLANK,
                state="discovered",
                etag=found.etag,
                size=found.size,
                last_modified=found.last_modified,
                converter_hash=converter_hash,
                discovered_at=now(connection),
            )
            .returning(files.c.key)
        ).first()
    return row is not None


def give_up(ledger: Ledger, source: str, file: SourceFile, note: str) -> bool:
    """Mark a failed file as given up, with a note before its reason; False if it is not failed."""
    with ledger.begin() as connection:
        row = connection.execute(
            update(files)
            .where(_is(source, file), files.c.state == "failed")
            .values(state="given_up", reason=f"{note} It had failed: {file.reason}")
            .returning(files.c.key)
        ).first()
    return row is not None


def _is(source: str, file: SourceFile) -> ColumnElement[bool]:
    return and_(files.c.source == source, files.c.bucket == file.bucket, files.c.key == file.key)


def _free(run: str) -> ColumnElement[bool]:
    """The condition of files that a run may take."""
    return or_(
        files.c.state == "discovered",
        and_(
            files.c.state == "processing",
            or_(files.c.claimed_until.is_(None), files.c.claimed_until <= utc_now()),
            or_(~_held(), _staged_by(run)),
        ),
    )


def _held() -> ColumnElement[bool]:
    """The condition of files that wait behind a quality gate: their rows are staged and not to be touched."""
    gates = quality_gates.c
    return exists().where(
        gates.pipeline == "import",
        gates.name == files.c.source,
        gates.run == _gate_run(),
        still_waiting(utc_now()),
    )


def _gate_run() -> ColumnElement[str]:
    """Name the run that has staged a file as its gate does: by its DAG, too."""
    run: ColumnElement[str] = files.c.staged["run"].as_string()
    return literal("import_s3__") + files.c.source + "/" + run


def _staged_by(run: str) -> ColumnElement[bool]:
    staged: ColumnElement[str] = files.c.staged["run"].as_string()
    return staged == run


def _of_run(run: str) -> ColumnElement[bool]:
    return files.c.claimed_by.startswith(f"{run}#", autoescape=True)


def holder_of(run: str, map_index: int) -> str:
    """Name the worker of one batch of a run: the same in every try of the task."""
    return f"{run}#{map_index}"


def run_of(holder: str) -> str:
    """Return the run of a worker."""
    return holder.rpartition("#")[0]


def _update_held(
    ledger: Ledger, source: str, file: SourceFile, holder: str, seconds: float, facts: dict[str, Any]
) -> bool:
    with ledger.begin() as connection:
        row = connection.execute(
            update(files)
            .where(_is(source, file), files.c.state == "processing", files.c.claimed_by == holder)
            .values(claimed_until=now(connection) + timedelta(seconds=seconds), **facts)
            .returning(files.c.key)
        ).first()
    return row is not None


def _stream(rows: Iterable[Any]) -> Iterator[SourceFile]:
    for row in rows:
        yield SourceFile(**row._mapping)
