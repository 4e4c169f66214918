"""Writes a snapshot's file: members in their order, each once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sluice.cohorts.columns import JSON, as_type
from sluice.cohorts.errors import CohortQueryError
from sluice.config.cohorts import CohortConfig

log = logging.getLogger(__name__)

# Nulls come last, as Arrow and DuckDB have it by default.
ORDER_BY = "ORDER BY amplitude_id, user_id"

NOBODY = (
    "the query returns a member whose amplitude_id is null: leave such rows out with"
    " WHERE amplitude_id IS NOT NULL"
)

_BATCH_ROWS = 100_000
_LOG_ROWS = 5_000_000
_ROW_GROUP_ROWS = 200_000


def write_members(
    cohort: CohortConfig,
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: dict[str, object],
    schema: pa.Schema,
    path: Path,
) -> int:
    """Write the rows of a query, which are sorted by their ids, to a Parquet file; return how many.

    A row that is there twice is written once. Raises CohortQueryError for a member without Amplitude ID, and
    for one that is there twice with different properties; `path` is then not there.
    """
    rows = connection.execute(sql, parameters).to_arrow_reader(_BATCH_ROWS)
    members = 0
    try:
        with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
            for batch in _distinct(cohort, (_typed(batch, schema) for batch in rows)):
                writer.write_batch(batch, row_group_size=_ROW_GROUP_ROWS)
                if members // _LOG_ROWS != (members + batch.num_rows) // _LOG_ROWS:
                    log.info("Cohort %s: %s members written", cohort.id, f"{members + batch.num_rows:,}")
                members += batch.num_rows
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return members


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [as_type(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _distinct(cohort: CohortConfig, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield rows that are sorted by their ids, each once."""
    last: pa.RecordBatch | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        if batch.column("amplitude_id").null_count:
            raise CohortQueryError.of(cohort, NOBODY)
        both = (
            batch if last is None else pa.Table.from_batches([last, batch]).combine_chunks().to_batches()[0]
        )
        again = _same_as_before(both, ("amplitude_id", "user_id"))
        if again.any():
            _refuse_contradiction(cohort, both, again)
        fresh = ~again if last is None else ~again[1:]
        yield batch if fresh.all() else batch.filter(pa.array(fresh))
        last = batch.slice(batch.num_rows - 1)


def _same_as_before(batch: pa.RecordBatch, columns: tuple[str, ...]) -> np.ndarray:
    """Say of each row whether it has the values of the row before it, nulls being equal."""
    same = np.ones(batch.num_rows, dtype=bool)
    same[:1] = False
    for name in columns:
        column = batch.column(name)
        if column.type == JSON:
            column = column.storage
        one, other = column.slice(0, len(column) - 1), column.slice(1)
        equal = pc.fill_null(pc.equal(one, other), False)
        same[1:] &= pc.or_(equal, pc.and_(one.is_null(), other.is_null())).to_numpy(zero_copy_only=False)
    return same


def _refuse_contradiction(cohort: CohortConfig, batch: pa.RecordBatch, again: np.ndarray) -> None:
    """Raise CohortQueryError if a member that is there again has other properties."""
    for name in batch.schema.names[2:]:
        differs = again & ~_same_as_before(batch, (name,))
        if differs.any():
            row = int(np.flatnonzero(differs)[0])
            who = f"amplitude_id {batch.column('amplitude_id')[row].as_py()}"
            raise contradiction(cohort, who, f"{name!r} differs between the rows")


def contradiction(cohort: CohortConfig, who: str, what: str) -> CohortQueryError:
    """Return the error for a member that is there twice with different properties.

    It names the Amplitude ID alone: a user id is personal data, as a property's value may be, by which
    receivers match (decisions K-15), and errors are in logs.
    """
    return CohortQueryError.of(
        cohort,
        f"the query returns the member with {who} twice: {what}. Return one row a member: GROUP BY"
        " amplitude_id, user_id, and take the latest value with"
        " arg_max(value, (server_upload_time, loaded_at, seq))",
    )
