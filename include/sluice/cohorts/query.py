"""A cohort's query: written by its author, or from its definition; and what columns it returns."""

from __future__ import annotations

from datetime import UTC, datetime

from sluice.cohorts.columns import Column
from sluice.cohorts.definition_sql import definition_sql
from sluice.cohorts.engine import connect, explained, lock, offer
from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.statement import checked
from sluice.cohorts.tables import TABLES, Events
from sluice.config.cohorts import CohortConfig

# Of a query that is only looked at, not run.
_SOME_TIME = datetime(2013, 1, 1, tzinfo=UTC)


def query_of(cohort: CohortConfig, *, portfolio: bool = False) -> str:
    """Return the SQL of a cohort. Raises CohortQueryError for a file of ids, which has none."""
    if cohort.sql is not None:
        return cohort.sql
    if cohort.definition is not None:
        return definition_sql(cohort.definition, cohort.properties, portfolio=portfolio)
    raise CohortQueryError.of(cohort, "it comes from a file of ids, without a query")


def columns_of(cohort: CohortConfig) -> list[str]:
    """Return the columns that the embedded engine's query returns, the ids included; nothing is read.

    Raises CohortQueryError for a query that cannot be run, and for a cohort of another engine or of a file.
    """
    if cohort.connection is not None:
        raise CohortQueryError.of(
            cohort, f"its query runs on the connection {cohort.connection}, which knows its columns"
        )
    statement = checked(cohort, query_of(cohort), TABLES)
    with connect() as connection, explained(cohort):
        offer(connection, Events.empty(), _SOME_TIME)
        lock(connection)
        return [
            column.name for column in Column.of(connection, statement.text, statement.parameters(_SOME_TIME))
        ]
