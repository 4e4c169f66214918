"""The value files of a stream: its differences are sets of distinct values, not of members (decisions K-15).

One of two members with the same value may leave without removing it. Values can only change where members
do, so the candidates are those of the entering and the exiting members; they are looked up in the lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from sluice.cohorts.list_files import AMPLITUDE_ID, VALUE, property_column
from sluice.event_filters import identifier, literal
from sluice.lake.sql import connect

if TYPE_CHECKING:
    import duckdb

    from sluice.cohorts.diff import Lists


def write_value_lists(lists: Lists) -> tuple[int, int]:
    """Write the values that enter and those that leave, ordered, and return how many each has.

    entering = values of current − (values of baseline − maybe_exit_values), exiting = (values of baseline ∪
    maybe_enter_values) − values of current, without nulls. Of several members with one value, the
    properties are those of the lowest amplitude_id.
    """
    before = lists.before
    baseline = [] if before.baseline is None else [before.baseline]
    with connect() as connection:
        # A maybe's values are those of its members, so what is left of them is among the exiting.
        entering = _write(
            connection,
            lists.entering_path,
            lists.enter_values_path,
            lists.properties,
            known=baseline,
            unless=before.maybe_exit_values,
        )
        exiting = _write(
            connection,
            lists.exiting_path,
            lists.exit_values_path,
            lists.properties,
            known=[lists.members_path],
            unless=(),
        )
    return entering, exiting


def _write(
    connection: duckdb.DuckDBPyConnection,
    candidates: Path,
    target: Path,
    properties: Sequence[str],
    *,
    known: Sequence[Path],
    unless: Sequence[Path],
) -> int:
    """Write the candidates' values but those that `known` has and `unless` has not."""
    columns = "".join(
        f", arg_min_null({name}, {AMPLITUDE_ID}) AS {name}"
        for name in (identifier(property_column(name)) for name in properties)
    )
    # The large side is only ever looked through: the hash tables are of the candidates.
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE told AS
        SELECT DISTINCT {VALUE} FROM {_values(known)} AS known
        SEMI JOIN {_values([candidates])} AS candidates USING ({VALUE})
        ANTI JOIN {_values(unless)} AS unsure USING ({VALUE})
        """
    )
    connection.execute(
        f"""
        COPY (
            SELECT {VALUE}{columns}
            FROM read_parquet({literal(candidates)}) AS candidates ANTI JOIN told USING ({VALUE})
            WHERE {VALUE} IS NOT NULL
            GROUP BY {VALUE} ORDER BY {VALUE}
        ) TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)
        """
    )
    return int(pq.read_metadata(target).num_rows)


def _values(paths: Sequence[Path]) -> str:
    """Return a table expression of the values in files; of none, an empty one."""
    if not paths:
        return f"(SELECT NULL::VARCHAR AS {VALUE} WHERE false)"
    files = ", ".join(map(literal, paths))
    return f"(SELECT {VALUE} FROM read_parquet([{files}]) WHERE {VALUE} IS NOT NULL)"
