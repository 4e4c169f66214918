"""An export's filter as one SQL predicate over the lake's columns (decisions E-16)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from sluice.config.filters import FilterConfig, Test
from sluice.event_columns import EVENT_COLUMNS
from sluice.exports.errors import LakeRowError
from sluice.lake.sql import connect

_PROPERTY_COLUMNS = {
    "event_property": "event_properties",
    "user_property": "user_properties",
    "group_property": "group_properties",
}
_COMPARISONS = {"greater": ">", "less": "<"}
_NUMBERS = ("BIGINT", "UBIGINT", "DOUBLE")

# Gives the SQL of a JSON value; each call binds its parameters anew.
_Value = Callable[[], str]


class EventFilter:
    """Says of each event of a batch whether the filter lets it through.

    `columns` are those that a batch must have. A condition on something that an event lacks is false, its
    negation true; values are compared as what they are, so the text "5" never equals the number 5.
    """

    def __init__(self, config: FilterConfig) -> None:
        self._parameters: list[Any] = []
        columns: dict[str, None] = {}
        clauses = []
        for clause in config.clauses:
            for test in clause:
                columns[_PROPERTY_COLUMNS.get(test.subject, test.path[0])] = None
            clauses.append("(" + " OR ".join(self._test(test) for test in clause) + ")")
        self.columns = tuple(columns)
        self.sql = " AND ".join(clauses)

    @contextmanager
    def open(self) -> Iterator[FilterEngine]:
        """Give the engine that evaluates the filter, for one thread."""
        with connect() as connection:
            yield FilterEngine(connection, self.sql, self._parameters, self.columns)

    def _bind(self, value: Any) -> str:
        self._parameters.append(value)
        return f"${len(self._parameters)}"

    def _test(self, test: Test) -> str:
        sql = self._on_column(test) if test.subject == "column" else self._on_property(test)
        # Three-valued logic ends here: unknown is false before it is negated.
        return f"NOT coalesce({sql}, false)" if test.negated else f"coalesce({sql}, false)"

    def _on_column(self, test: Test) -> str:
        name = test.path[0]
        column = '"' + name.replace('"', '""') + '"'
        kind = EVENT_COLUMNS[name]
        if test.operator == "exists":
            return f"{column} IS NOT NULL" + (f" AND {column} != 'null'" if kind == "json" else "")
        cast = "::TIMESTAMPTZ" if kind == "time" else ""
        match test.operator:
            case "equals":
                return f"{column} = {self._bind(test.value)}{cast}"
            case "in":
                return f"{column} IN ({', '.join(self._bind(value) for value in test.value)})"
            case "contains":
                return f"contains({column}, {self._bind(test.value)})"
            case "matches":
                return f"regexp_matches({column}, {self._bind(test.value)})"
            case operator:
                return f"{column} {_COMPARISONS[operator]} {self._bind(test.value)}{cast}"

    def _on_property(self, test: Test) -> str:
        pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in test.path)

        def value() -> str:
            return f"json_extract({_PROPERTY_COLUMNS[test.subject]}, {self._bind(pointer)})"

        match test.operator:
            case "exists":
                return f"json_type({value()}) != 'NULL'"
            case "equals":
                return self._equals(value, test.value)
            case "in":
                return "(" + " OR ".join(self._equals(value, item) for item in test.value) + ")"
            case "contains":
                return self._contains(value, test.value)
            case "matches":
                return self._of_text(value, "regexp_matches({}, {})", test.value)
            case operator if isinstance(test.value, str):
                return self._of_text(value, f"{{}} {_COMPARISONS[operator]} {{}}", test.value)
            case operator:
                # As doubles: the order of numbers beyond 2^53 is that of their nearest doubles.
                number = f"TRY_CAST({value()} ->> '$' AS DOUBLE)"
                bound = self._bind(float(test.value))
                return f"({self._is(value, *_NUMBERS)} AND {number} {_COMPARISONS[operator]} {bound})"

    def _is(self, value: _Value, *types: str) -> str:
        return f"json_type({value()}) IN ({', '.join(map(repr, types))})"

    def _of_text(self, value: _Value, form: str, operand: str) -> str:
        test = form.format(f"({value()} ->> '$')", self._bind(operand))
        return f"({self._is(value, 'VARCHAR')} AND {test})"

    def _equals(self, value: _Value, wanted: Any) -> str:
        if isinstance(wanted, str):
            return self._of_text(value, "{} = {}", wanted)
        if isinstance(wanted, bool):
            same = f"({value()} ->> '$') = {self._bind(str(wanted).lower())}"
            return f"({self._is(value, 'BOOLEAN')} AND {same})"
        # An integer by its digits, which a double would not keep; any other number by its value.
        same_text = f"({value()} ->> '$') = {self._bind(repr(wanted))}"
        same_double = f"TRY_CAST({value()} ->> '$' AS DOUBLE) = {self._bind(float(wanted))}"
        if isinstance(wanted, int):
            same_double = f"{self._is(value, 'DOUBLE')} AND {same_double}"
        return f"({self._is(value, *_NUMBERS)} AND ({same_text} OR {same_double}))"

    def _contains(self, value: _Value, wanted: Any) -> str:
        item = self._equals(lambda: "item", wanted)
        found = f"list_bool_or(list_transform(CAST({value()} AS JSON[]), item -> {item}))"
        # The engine may cast before it looks at the type.
        in_list = f"CASE WHEN {self._is(value, 'ARRAY')} THEN {found} ELSE false END"
        if not isinstance(wanted, str):
            return in_list
        return f"({in_list} OR {self._of_text(value, 'contains({}, {})', wanted)})"


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
