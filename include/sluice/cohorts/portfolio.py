"""Members of a portfolio: rows of several projects become one row a member (decisions K-16).

A member that several source projects have is one by the user id; without one, by the Amplitude ID. It has
the Amplitude ID of the first of the sources that have it, in the order of projects.yaml, and each property
once per source.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.members import NOBODY, contradiction
from sluice.config.cohorts import CohortConfig, property_columns
from sluice.config.projects import Project
from sluice.event_filters import identifier

_ROWS = "portfolio_rows"


def join_sources(
    cohort: CohortConfig,
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: dict[str, object],
    schema: pa.Schema,
    sources: Sequence[Project],
) -> tuple[str, pa.Schema]:
    """Run a query that returns `app`; return the query and the schema of its members, one row each.

    `schema` has the types of the query's columns. Raises CohortQueryError for a row of another project, one
    without Amplitude ID, and for a member that a project has twice with different properties.
    """
    # Rows that are the same in all count once.
    connection.execute(f"CREATE TEMP TABLE {_ROWS} AS SELECT DISTINCT * FROM ({sql})", parameters)
    _check_rows(cohort, connection, [source.id for source in sources])
    order = f"list_position({[source.id for source in sources]}, app)"
    fields = [schema.field("amplitude_id"), schema.field("user_id")]
    columns = [f"arg_min(amplitude_id, ({order}, amplitude_id)) AS amplitude_id", "user_id"]
    for name in cohort.properties:
        for source, column in zip(sources, property_columns([name], sources), strict=True):
            values = f"any_value({identifier(name)}) FILTER (app = {source.id})"
            columns.append(f"{values} AS {identifier(column)}")
            fields.append(schema.field(name).with_name(column))
    # One project may have several Amplitude IDs of a user: the properties are the user's.
    joined = f"SELECT {', '.join(columns)} FROM {_ROWS} GROUP BY user_id, {_ANONYMOUS}"
    return joined, pa.schema(fields)


_ANONYMOUS = "CASE WHEN user_id IS NULL THEN amplitude_id END"


def _check_rows(cohort: CohortConfig, connection: duckdb.DuckDBPyConnection, sources: Sequence[int]) -> None:
    if _first(connection, f"SELECT 1 FROM {_ROWS} WHERE amplitude_id IS NULL"):
        raise CohortQueryError.of(cohort, NOBODY)
    numbers = ", ".join(map(str, sources))
    strange = _first(connection, f"SELECT app FROM {_ROWS} WHERE coalesce(app NOT IN ({numbers}), true)")
    if strange:
        raise CohortQueryError.of(
            cohort,
            f"the query returns a row with app {strange[0]}, which is none of the portfolio's projects"
            f" {numbers}: return the `app` of the events",
        )
    for name in cohort.properties:
        # Nulls count: a value in one row and none in another is a contradiction as well.
        found = _first(
            connection,
            f"SELECT app, min(amplitude_id) FROM {_ROWS} GROUP BY app, user_id, {_ANONYMOUS}"
            f" HAVING count(DISTINCT {identifier(name)}) > 1"
            f" OR count({identifier(name)}) BETWEEN 1 AND count(*) - 1",
        )
        if found:
            who = f"amplitude_id {found[1]} of project {found[0]}"
            raise contradiction(cohort, who, f"{name!r} differs between the rows")


def _first(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[object, ...] | None:
    rows = connection.execute(f"{sql} LIMIT 1").fetchall()
    return rows[0] if rows else None
