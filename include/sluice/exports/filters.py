"""An export's filter as one SQL predicate over the lake's columns (decisions E-16)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from sluice.config.filters import FilterConfig
from sluice.event_filters import ConditionWriter, columns_of
from sluice.exports.errors import LakeRowError
from sluice.lake.sql import connect


class EventFilter:
    """Says of each event of a batch whether the filter lets it through.

    `columns` are those that a batch must have. A condition on something that an event lacks is false, its
    negation true; values are compared as what they are, so the text "5" never equals the number 5.
    """

    def __init__(self, config: FilterConfig) -> None:
        self._parameters: list[Any] = []
        self.columns = columns_of(config.clauses)
        # What is unknown is not let through.
        self.sql = f"coalesce({ConditionWriter(self._bind).all_of(config.clauses)}, false)"

    @contextmanager
    def open(self) -> Iterator[FilterEngine]:
        """Give the engine that evaluates the filter, for one thread."""
        with connect() as connection:
            yield FilterEngine(connection, self.sql, self._parameters, self.columns)

    def _bind(self, value: Any) -> str:
        self._parameters.append(value)
        return f"${len(self._parameters)}"


class FilterEngine:
    """Evaluates one filter on batch after batch. Raises LakeRowError for a row that it cannot read."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any], columns: tuple[str, ...]
    ) -> None:
        self._connection = connection
        self._query = f"SELECT {sql} AS lets_through FROM batch"
        self._parameters = parameters
        self._columns = list(columns)

    def keep(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch's events that the filter lets through, in their order."""
        return batch.filter(self.mask(batch))

    def mask(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Say of each of the batch's events whether the filter lets it through."""
        self._connection.register("batch", batch.select(self._columns))
        try:
            mask = self._connection.execute(self._query, self._parameters).to_arrow_table()
        except duckdb.Error as error:
            raise LakeRowError(
                f"The filter cannot read an event of the lake, which another program may have made: {error}"
            ) from error
        finally:
            self._connection.unregister("batch")
        return mask.column("lets_through").combine_chunks()
