"""A cohort's query: written by its author, or from its definition; and what columns it returns."""

from __future__ import annotations

from datetime import UTC, datetime

from sluice.cohorts.columns import Column, casts, check_names
from sluice.cohorts.definition_sql import definition_sql
from sluice.cohorts.engine import connect, explained, lock, offer
from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.id_files import IdFile
from sluice.cohorts.statement import checked
from sluice.cohorts.tables import TABLES, Events
from sluice.config import Config
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


def columns_of(cohort: CohortConfig, *, portfolio: bool = False) -> list[Column]:
    """Return the columns that the embedded engine's query returns, the ids included; nothing is read.

    Raises CohortQueryError for a query that cannot be run.
    """
    statement = checked(cohort, query_of(cohort, portfolio=portfolio), TABLES)
    with connect() as connection, explained(cohort):
        offer(connection, Events.empty(), _SOME_TIME)
        lock(connection)
        return Column.of(connection, statement.text, statement.parameters(_SOME_TIME))


def check(cohort: CohortConfig, config: Config) -> None:
    """Raise CohortQueryError if a cohort could not be looked at: its query, its columns, its file.

    No lake is needed. A query on a connection is only looked at when it runs.
    """
    if cohort.connection is not None:
        return
    if cohort.ids_file is not None:
        IdFile.open(cohort, config)
        return
    portfolio = bool(config.sources_of(cohort))
    columns = columns_of(cohort, portfolio=portfolio)
    check_names(cohort, [column.name for column in columns], portfolio=portfolio)
    casts(cohort, columns, portfolio=portfolio)
