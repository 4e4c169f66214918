"""What a cohort's SQL may be: one SELECT over the offered tables, whose answer is a function of `$as_of`.

The engine is locked besides (sluice.cohorts.engine); what is refused here is refused with a sentence, and
before anything is read. Some table functions of the engine take addresses in memory, which no lock of its
own keeps from a query: so those that are allowed are listed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.sql_text import AS_OF, without_semicolon
from sluice.config.cohorts import CohortConfig

_TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "unnest"})
_CLOCKS = frozenset(
    {
        *("current_date", "current_localtime", "current_localtimestamp", "current_time"),
        *("current_timestamp", "get_current_time", "get_current_timestamp", "localtime", "localtimestamp"),
        *("now", "today", "transaction_timestamp"),
    }
)
_DICE = frozenset({"gen_random_uuid", "random", "setseed", "uuid", "uuidv4", "uuidv7"})
# They tell of the engine, or change it, and nothing of the events.
_INNARDS = frozenset(
    {
        *("current_connection_id", "current_query", "current_query_id", "current_setting"),
        *("current_transaction_id", "currval", "getenv", "getvariable", "nextval", "sleep_ms"),
        *("txid_current", "write_log"),
    }
)
_MAX_CHARACTERS = 100_000

# Tables of later versions, and where their content is until then.
_NOT_YET = {
    "users": "the properties of a user are in `user_properties` of the events",
    "groups": "the groups of an event are in its columns `groups` and `group_properties`",
    "profiles": "no profiles are imported yet",
    "merged_ids": "no Amplitude IDs are merged yet",
}


@dataclass(frozen=True)
class Statement:
    """A cohort's SQL that may be run; `as_of` says whether it uses the parameter."""

    text: str
    as_of: bool

    def parameters(self, as_of: object) -> dict[str, object]:
        """Return the parameters that it takes."""
        return {AS_OF: as_of} if self.as_of else {}


def checked(cohort: CohortConfig, sql: str, tables: Collection[str]) -> Statement:
    """Return SQL as a statement that may be run. Raises CohortQueryError with what to write instead."""
    if len(sql) > _MAX_CHARACTERS:
        raise CohortQueryError.of(cohort, f"the query has more than {_MAX_CHARACTERS:,} characters")
    tree = _tree(cohort, sql)
    nodes = list(_nodes(tree))
    own = {one["key"].lower() for node in nodes for one in (node.get("cte_map") or {}).get("map", ())}
    for node in nodes:
        if refusal := _refusal(node, own, tables):
            raise CohortQueryError.of(cohort, refusal)
    parameters = {node["identifier"] for node in nodes if node.get("class") == "PARAMETER"}
    if strange := sorted(parameters - {AS_OF}):
        raise CohortQueryError.of(
            cohort,
            f"the query has the parameter ${strange[0]}: the only one is $as_of, the time as of which the"
            " members are wanted",
        )
    return Statement(without_semicolon(sql), bool(parameters))


def _tree(cohort: CohortConfig, sql: str) -> Any:
    with duckdb.connect() as connection:
        try:
            statements = connection.extract_statements(sql)
            is_select = [one.type == duckdb.StatementType.SELECT for one in statements]
            answer = connection.execute("SELECT json_serialize_sql($1)", [sql]).fetchall()[0][0]
            tree = json.loads(answer)
        except duckdb.Error as error:
            raise CohortQueryError.of(cohort, f"the query is no SQL that DuckDB reads: {error}") from error
        except RecursionError as error:
            raise CohortQueryError.of(cohort, "the query is nested too deeply: write it flatter") from error
    if is_select != [True] or tree["error"]:
        raise CohortQueryError.of(
            cohort, "`sql` must be one SELECT: no other statement, no second one, no PIVOT"
        )
    return tree


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of the parsed statement."""
    waiting = [tree]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            yield here
            waiting.extend(here.values())
        elif isinstance(here, list):
            waiting.extend(here)


def _refusal(node: dict[str, Any], own: Collection[str], tables: Collection[str]) -> str | None:
    """Say why a part of a statement is not taken."""
    kind = node.get("type")
    if node.get("sample"):
        return "the query takes a sample, which would be another one each time: take TABLESAMPLE out"
    if kind == "BASE_TABLE":
        return _refused_table(node, own, tables)
    if kind == "SHOW_REF":
        return "DESCRIBE, SHOW and SUMMARIZE give no members: write a SELECT"
    if kind == "TABLE_FUNCTION":
        name = node["function"]["function_name"].lower()
        if name not in _TABLE_FUNCTIONS:
            return (
                f"the query reads from {name}(…): it may read the tables {_list(tables)}, and use"
                f" {_list(_TABLE_FUNCTIONS)}; no files, no network"
            )
    return _refused_function(str(node.get("function_name", "")).lower()) or _refused_column(node)


def _refused_table(node: dict[str, Any], own: Collection[str], tables: Collection[str]) -> str | None:
    name = node["table_name"]
    schema = node.get("schema_name") or node.get("catalog_name")
    if not schema and name.lower() in {*own, *tables}:
        return None
    if not schema and name.lower() in _NOT_YET:
        return f"there is no table {name} yet: {_NOT_YET[name.lower()]}; a query reads {_list(tables)}"
    shown = f"{schema}.{name}" if schema else name
    return f"there is no table {shown}: a query reads {_list(tables)}"


def _refused_function(name: str) -> str | None:
    if name in _CLOCKS:
        return _asks_for_the_time(name)
    if name in _DICE:
        return f"the query throws dice ({name}), so that it would answer otherwise each time it is run"
    if name in _INNARDS:
        return f"the query calls {name}, which tells of the engine and not of the events: take it out"
    return None


def _refused_column(node: dict[str, Any]) -> str | None:
    """Refuse a clock, which needs no brackets; other functions do, and events have a column `uuid`."""
    columns = node.get("column_names") or []
    name = str(columns[0]).lower() if len(columns) == 1 else ""
    return _asks_for_the_time(name) if name in _CLOCKS else None


def _asks_for_the_time(name: str) -> str:
    return (
        f"the query asks for the time of day ({name}), so that it would answer otherwise each time it is"
        " run: use $as_of"
    )


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
