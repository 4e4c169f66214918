"""Rejected rows that are imported again: a file of their own in the ledger and in the lake's log.

Its bucket is `<bucket>#<number>`, which no bucket can be called, its key that of the file in which the rows
stand. So it waits, is claimed, staged, loaded and recorded like any other file, once, whatever is killed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import or_, select

from sluice.ledger.database import Ledger, now
from sluice.ledger.files import SourceFile, origin
from sluice.ledger.tables import files


@dataclass(frozen=True)
class Rejects:
    """The open rejects of one file of a source: those of the newest load that its rows went through.

    `bucket` and `key` name the object, `held_in` is the bucket under which the load `load_number` has them.
    `state` is that of the object; `waits` says that they are on their way through the import again, `taken`
    how often they were.
    """

    bucket: str
    key: str
    held_in: str
    load_number: int
    rows: int
    state: str
    waits: bool
    taken: int
    columns: tuple[str, ...] | None


def open_rejects(ledger: Ledger, source: str) -> list[Rejects]:
    """Return where the rejected rows of a source stand that nobody has dealt with yet, by key.

    Those of a file that waits for a retry, or was given up, are not among them, nor are those of an attempt
    before the last one.
    """
    columns = files.c
    with ledger.begin() as connection:
        rows = connection.execute(
            select(
                columns.bucket,
                columns.key,
                columns.state,
                columns.load_number,
                columns.rejected,
                columns.report,
            )
            .where(
                columns.source == source,
                or_(columns.rejected > 0, columns.bucket.contains("#", autoescape=True)),
            )
            .order_by(columns.key)
        ).all()
    found = {(row.bucket, row.key): row for row in rows}
    takes: dict[tuple[str, str], list[int]] = {}
    for bucket, key in found:
        name, number = origin(bucket)
        takes.setdefault((name, key), []).append(number)
    result = []
    for (bucket, key), numbers in takes.items():
        original = found.get((bucket, key))
        if original is None or original.state not in ("done", "failed") or original.load_number is None:
            continue
        again = [(number, found[taken_bucket(bucket, number), key]) for number in sorted(numbers) if number]
        held_in, holder = bucket, original
        for number, taken in again:
            if taken.state == "done":
                held_in, holder = taken_bucket(bucket, number), taken
        if holder.rejected:
            names = (original.report or {}).get("columns")
            result.append(
                Rejects(
                    bucket=bucket,
                    key=key,
                    held_in=held_in,
                    load_number=holder.load_number,
                    rows=holder.rejected,
                    state=original.state,
                    waits=any(taken.state in ("discovered", "processing") for _, taken in again),
                    taken=max(numbers),
                    columns=None if names is None else tuple(names),
                )
            )
    return result


def take(ledger: Ledger, source: str, rejects: Rejects, converter_hash: str) -> bool:
    """Let rejected rows wait for the next run, for this converter; False if somebody else just did so."""
    with ledger.begin() as connection:
        moment = now(connection)
        added = connection.execute(
            ledger.insert(files)
            .values(
                source=source,
                bucket=taken_bucket(rejects.bucket, rejects.taken + 1),
                key=rejects.key,
                # The version of a file is its ETag; of these rows it is the load that has them.
                etag=f"{rejects.held_in}@{rejects.load_number}",
                size=0,
                last_modified=moment,
                converter_hash=converter_hash,
                state="discovered",
                discovered_at=moment,
                report={"columns": rejects.columns},
            )
            .on_conflict_do_nothing()
            .returning(files.c.key)
        )
        return added.first() is not None


def held_in(file: SourceFile) -> tuple[str, int]:
    """Return where the rows of such a file come from: the bucket and the number of the load that has them."""
    bucket, _, number = file.etag.rpartition("@")
    return bucket, int(number)


def taken_bucket(bucket: str, number: int) -> str:
    """Name the bucket of the rejected rows that are taken for the n-th time."""
    return f"{bucket}#{number}"
