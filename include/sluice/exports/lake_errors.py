"""Turns what reading the lake fails with into errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from sluice.disk import DiskFull, disk_is_full
from sluice.exports.errors import LakeFileError, LakeSchemaError
from sluice.lake import Lake
from sluice.lake.schema import EVENTS


@contextmanager
def lake_explained() -> Iterator[None]:
    """Turn errors of Arrow, DuckDB and the disk within the block into those of this room.

    Raises DiskFull, LakeFileError or LakeSchemaError; other errors pass.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise LakeFileError(
            f"A data file of the lake is gone: {error}. Somebody removed it, or emptied the lake's folder:"
            " restore it, or set the lake back to a version that has all its files."
        ) from error
    except (OSError, duckdb.Error) as error:
        if disk_is_full(error):
            raise DiskFull(
                f"The disk of this machine's temporary files is full ({error}). An hour whose data files"
                " overlap in time is put in order there, and takes about its size in the lake: free some"
                " room, or set TMPDIR to a larger disk; nothing was published, and the task is retried."
            ) from error
        raise
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise LakeSchemaError(
            f"A data file of the lake does not have the columns of an event: {error}. Another program or"
            " another version of Sluice wrote it: write it anew with the columns of docs/extending.md, or"
            " take it out of the table."
        ) from error


def explained_rows(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield what the lake gives; errors of reading are explained, those of whoever uses the rows are not."""
    with lake_explained():
        yield from rows


def check_schema(lake: Lake, version: int) -> None:
    """Raise LakeSchemaError if `events` does not have the columns that this version knows, at a version."""
    fields = {field.name: field for field in pa.schema(lake.events(version).schema().to_arrow())}
    missing = [name for name in EVENTS.names if name not in fields]
    changed = [
        f"{field.name} is {fields[field.name].type}, not {field.type}"
        for field in EVENTS
        if field.name in fields and not _alike(fields[field.name].type, field.type)
    ]
    if missing or changed:
        what = [f"there is no column {', '.join(missing)}"] * bool(missing) + changed
        raise LakeSchemaError(
            f"The schema of the lake's events was changed: {'; '.join(what)} (version {version}). Another"
            " version of Sluice or another program did it: bring all to the same version, or put the columns"
            " back."
        )


def _alike(one: pa.DataType, other: pa.DataType) -> bool:
    if pa.types.is_string(other):
        return bool(pa.types.is_string(one) or pa.types.is_large_string(one) or one == pa.string_view())
    return bool(one.equals(other))
