"""Turns staged rows into rows of `events`: what the load assigns is added, what is not kept is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from sluice.lake.decision import Decision
from sluice.lake.reorder import reorder
from sluice.lake.schema import EVENTS, TIMESTAMP
from sluice.lake.snapshot import Snapshot
from sluice.lake.staged import StagedFile, batches_of, open_staged
from sluice.lake.store import LakeError

BATCH_ROWS = 20_000

_DAY_US = 86_400_000_000
# The same in all rows of a file: as a dictionary of the load's files they cost next to nothing, and in the
# Parquet file they are text like any other.
_TEXT = pa.dictionary(pa.int32(), pa.string())
_ORIGIN = ("source", "object")


def enriched_rows(
    snapshot: Snapshot, source: str, files: Sequence[StagedFile], decision: Decision, instant: datetime
) -> Iterator[pa.RecordBatch]:
    """Yield the kept rows of a source's staged files as rows of `events`, in the order of their `seq`."""
    if sum(file.rows for file in files) != len(decision.keep):
        raise LakeError("The rows that were decided are not those that the staged files are said to have.")
    load = _Load(snapshot, source, files, decision, instant)
    if decision.in_order:
        return load.rows(load.repeated_texts())
    return reorder(load.rows(()), decision.seq[decision.keep], _schema(()), BATCH_ROWS)


def _schema(dictionaries: Sequence[str]) -> pa.Schema:
    return pa.schema(
        [field.with_type(_TEXT) if field.name in (*_ORIGIN, *dictionaries) else field for field in EVENTS]
    )


@dataclass(frozen=True)
class _Load:
    """What all rows of a load share."""

    snapshot: Snapshot
    source: str
    files: Sequence[StagedFile]
    decision: Decision
    instant: datetime

    def repeated_texts(self) -> list[str]:
        """Return the text columns with few values: they stay the dictionaries that they are in the file."""
        if not self.files:
            return []
        with open_staged(self.snapshot.lake, str(self.files[0].events)) as file:
            if not file.metadata.num_row_groups:
                return []
            group = file.metadata.row_group(0)
            columns = [group.column(index) for index in range(group.num_columns)]
            return [
                column.path_in_schema
                for column in columns
                if column.physical_type == "BYTE_ARRAY"
                and column.has_dictionary_page
                # A text that is written out takes four bytes for its length alone.
                and column.total_uncompressed_size < 4 * group.num_rows
            ]

    def rows(self, dictionaries: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the kept rows in the order of the files; the columns of `dictionaries` stay such."""
        schema = _schema(dictionaries)
        objects = pa.array([file.uri for file in self.files])
        place = 0
        for index, staged in enumerate(self.files):
            with open_staged(self.snapshot.lake, str(staged.events), dictionaries) as file:
                for batch in batches_of(file, BATCH_ROWS):
                    keep = self.decision.keep[place : place + batch.num_rows]
                    if keep.any():
                        yield self._enrich(batch, place, keep, objects, index, schema)
                    place += batch.num_rows

    def _enrich(
        self,
        batch: pa.RecordBatch,
        place: int,
        keep: np.ndarray,
        objects: pa.Array,
        file: int,
        schema: pa.Schema,
    ) -> pa.RecordBatch:
        here = slice(place, place + batch.num_rows)
        rows = batch if keep.all() else batch.filter(pa.array(keep))
        count = rows.num_rows
        assigned: dict[str, pa.Array] = {
            "app": pa.repeat(pa.scalar(self.snapshot.project, pa.int64()), count),
            "loaded_at": pa.repeat(pa.scalar(self.instant, TIMESTAMP), count),
            "revision": pa.repeat(pa.scalar(0, pa.int32()), count),
            "source": _repeated(0, pa.array([self.source]), count),
            "object": _repeated(file, objects, count),
        }
        assigned |= {
            name: pa.array(values[here][keep]).cast(EVENTS.field(name).type)
            for name, values in {**self.decision.assigned, "seq": self.decision.seq}.items()
        }
        assigned["upload_date"] = _days(_column("server_upload_time", assigned, rows))
        return pa.RecordBatch.from_arrays(
            [_column(name, assigned, rows) for name in schema.names], schema=schema
        )


def _column(name: str, assigned: Mapping[str, pa.Array], rows: pa.RecordBatch) -> pa.Array:
    return assigned[name] if name in assigned else rows.column(name)


def _repeated(index: int, values: pa.Array, times: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.full(times, index, dtype=np.int32), values)


def _days(moments: pa.Array) -> pa.Array:
    """Return the UTC dates of moments, none of which is null."""
    days = np.floor_divide(moments.cast(pa.int64()).to_numpy(), _DAY_US)
    return pa.array(days.astype(np.int32)).cast(pa.date32())
