"""What a table's columns hold, as far as a suite can ask about it: from aggregates, in a few scans.

Nothing but the members of small sets that many people share leaves this module: no value that may be
somebody's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from sluice.event_filters import identifier, literal
from sluice.quality.columns import GROUP, Column, Columns

# A value is listed only if it is one of at most so many, each of which so many rows and people have.
MAX_VALUES = 30
MIN_ROWS = 20
MIN_PERSONS = 5
# The most frequent properties of a column are looked at, if at least one row in so many has them.
MAX_PROPERTIES = 30
RARE = 100
# Rows up to which a column is proved to be unique: it takes memory for each of them.
MAX_UNIQUE_ROWS = 5_000_000
# Below this share of distinct values not even a bad estimate allows that all of them are different.
_NEARLY = 0.5

# What ids look like, the narrowest first; the engine and Python agree on all of it.
_HEX = "[0-9a-f]"
FORMS: Mapping[str, str] = {
    "UUIDs": f"^{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}$",
    "digits": "^[0-9]+$",
    "small hexadecimal digits": f"^{_HEX}+$",
    "IPv4 addresses": r"^[0-9]{1,3}([.][0-9]{1,3}){3}$",
    "capitals and digits": "^[A-Z0-9]+$",
    "letters and digits": "^[A-Za-z0-9]+$",
    "dates": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    "letters, digits, dots, colons, dashes and underscores": "^[A-Za-z0-9_.:-]+$",
    "e-mail addresses": "^[^@ ]+@[^@ ]+[.][^@ ]+$",
}

_PERSONAL_COLUMNS = frozenset(
    {
        *("$insert_id", "adid", "amplitude_id", "city", "device_id", "event_id", "idfa", "ip_address"),
        *("location_lat", "location_lng", "partner_id", "session_id", "user_id", "uuid"),
    }
)
_PERSONAL_NAME = re.compile(
    r"mail|phone|mobile|name|address|birth|iban|card|passw|token|secret|user|device|session|account"
    r"|customer|passport|licen[cs]e|ssn|tax|gender|(^|[_. ])ip($|[_. ])|(^|[_. ])id$|Id$|ID$",
    re.IGNORECASE,
)
_PERSONAL_VALUE = re.compile(r"@|[0-9]{6}|[0-9a-fA-F]{8}-|^[0-9]{1,3}([.][0-9]{1,3}){3}$")

# The order of two times, if both are there: the first is not before the second.
_ORDERED = (("server_upload_time", "event_time"), ("client_upload_time", "client_event_time"))


@dataclass(frozen=True)
class Subject:
    """A table or view of the connection, and what of it is looked at.

    `columns` are looked at as they are, `json` only for the properties in them, `beside` only to compare
    others with. `by` is an SQL expression whose values tell apart what one gate sees (hours, loads); `person`
    is the column that names people.
    """

    relation: str
    columns: Sequence[str]
    json: Sequence[str] = ()
    beside: Sequence[str] = ()
    by: str | None = None
    person: str | None = None


@dataclass
class ColumnFacts:
    """What a column, or a property, holds.

    `worst` is the smallest share of values that are not null in any group. `types` are those that the engine
    gives to JSON values, of a property. `least` and `most` are there if all values are numbers, and for times
    in microseconds. `values` are all values of a small set, and may be told to anybody.
    """

    name: str
    kind: str
    rows: int = 0
    present: int = 0
    worst: float = 0.0
    distinct: int = 0
    types: tuple[str, ...] = ()
    texts: bool = False
    least: float | None = None
    most: float | None = None
    form: str | None = None
    unique: bool = False
    values: tuple[str, ...] = ()

    @property
    def personal(self) -> bool:
        """Whether its values may be somebody's own: then nothing of them is told but their form."""
        return is_personal(self.name)


@dataclass
class Profile:
    """What a table holds: its rows, the rows of its smallest and largest group, and its columns."""

    rows: int
    groups: int
    fewest: int
    most: int
    columns: list[ColumnFacts] = field(default_factory=list)
    # Pairs of time columns whose first is never before the second.
    ordered: list[tuple[str, str]] = field(default_factory=list)


def is_personal(name: str) -> bool:
    """Whether values of a column, or of a property, may be somebody's own, judged by its name."""
    own = name.partition(".")[2] or name
    return name in _PERSONAL_COLUMNS or bool(_PERSONAL_NAME.search(own))


def profile(connection: duckdb.DuckDBPyConnection, subject: Subject) -> Profile:
    """Look at a table; memory is bounded by the connection's limit and by what is counted here."""
    columns = Columns(connection, subject.relation, subject.by)
    names = [*subject.columns, *_properties(connection, subject)]
    looked = {name: columns[name] for name in names}
    found = _groups(connection, columns, looked)
    if not found.rows:
        return found
    times = looked | {name: columns[name] for name in subject.beside}
    _facts(connection, columns, times, found)
    by_name = {facts.name: facts for facts in found.columns}
    _sets(connection, columns, looked, by_name, subject.person)
    _proofs(connection, columns, looked, by_name)
    return found


def _properties(connection: duckdb.DuckDBPyConnection, subject: Subject) -> Iterator[str]:
    """Yield the dotted names of the properties that are not rare, of each column the most frequent first."""
    for column in subject.json:
        rows = connection.execute(
            f"SELECT key, count(*) AS times FROM (SELECT unnest(json_keys({identifier(column)})) AS key"
            f" FROM {identifier(subject.relation)}) GROUP BY key"
            f" HAVING times * {RARE} >= (SELECT count(*) FROM {identifier(subject.relation)})"
            f" ORDER BY times DESC, key LIMIT {MAX_PROPERTIES}"
        ).fetchall()
        yield from (f"{column}.{key}" for key, _ in rows if key and key.isprintable() and len(key) <= 100)


def _groups(connection: duckdb.DuckDBPyConnection, columns: Columns, looked: Mapping[str, Column]) -> Profile:
    """Count the rows and what is not null, in each group."""
    counts = [f"count({column.value}) AS n{place}" for place, column in enumerate(looked.values())]
    per_group = f"SELECT count(*) AS n, {', '.join(counts)} FROM {columns.rows} GROUP BY {GROUP}"
    shares = [f"sum(n{place}), min(n{place} / n)" for place in range(len(counts))]
    found = connection.execute(
        f"SELECT coalesce(sum(n), 0), count(*), min(n), max(n), {', '.join(shares)} FROM ({per_group})"
    ).fetchone()
    rows, groups, fewest, most, *numbers = found or (0, 0, None, None)
    result = Profile(int(rows), groups, fewest or 0, most or 0)
    for place, (name, column) in enumerate(looked.items()):
        present, worst = numbers[2 * place : 2 * place + 2]
        result.columns.append(ColumnFacts(name, column.kind, result.rows, int(present or 0), worst or 0.0))
    return result


def _facts(
    connection: duckdb.DuckDBPyConnection, columns: Columns, looked: Mapping[str, Column], found: Profile
) -> None:
    """Look at types, bounds and how many different values there are, over all rows."""
    asked = _Asked()
    for facts in found.columns:
        column = looked[facts.name]
        if not facts.present:
            continue
        asked.add(facts.name, "distinct", f"approx_count_distinct({column.key})")
        if column.kind == "json":
            asked.add(facts.name, "types", f"list_sort(list(DISTINCT {column.type}))")
        if column.text is not None:
            asked.add(facts.name, "texts", f"count({column.text})")
        bound = column.value if column.kind == "time" else column.number
        if bound is not None:
            asked.add(facts.name, "bounds", f"[count({bound})::DOUBLE, min({bound}), max({bound})]")
    pairs = [pair for pair in _ORDERED if looked.keys() >= set(pair)]
    for pair in pairs:
        later, earlier = (looked[name].value for name in pair)
        asked.add(pair[0], "ordered", f"bool_and({later} >= {earlier})")
    answers = asked.of(connection, columns)
    for facts in found.columns:
        facts.distinct = answers.get((facts.name, "distinct")) or 0
        kinds = answers.get((facts.name, "types")) or ()
        facts.types = tuple(kind for kind in kinds if kind is not None and kind != "NULL")
        facts.texts = answers.get((facts.name, "texts")) == facts.present > 0
        count, least, most = answers.get((facts.name, "bounds")) or (None, None, None)
        if count == facts.present > 0:
            facts.least, facts.most = least, most
    found.ordered = [pair for pair in pairs if answers.get((pair[0], "ordered"))]


def _proofs(
    connection: duckdb.DuckDBPyConnection,
    columns: Columns,
    looked: Mapping[str, Column],
    by_name: Mapping[str, ColumnFacts],
) -> None:
    """Find the form of texts of which there are many different ones, and which columns are unique."""
    asked = _Asked()
    for name, facts in by_name.items():
        column = looked[name]
        if facts.texts and facts.distinct > MAX_VALUES:
            for form, pattern in FORMS.items():
                asked.add(name, form, f"bool_and(regexp_matches({column.text}, {literal(pattern)}))")
        nearly = facts.distinct >= _NEARLY * facts.present and facts.present >= MIN_ROWS
        if facts.texts and nearly and facts.present <= MAX_UNIQUE_ROWS:
            asked.add(name, "unique", f"count(DISTINCT hash({column.key})) FILTER ({column.key} IS NOT NULL)")
    answers = asked.of(connection, columns)
    for name, facts in by_name.items():
        facts.form = next((form for form in FORMS if answers.get((name, form))), None)
        facts.unique = answers.get((name, "unique")) == facts.present > 0


def _sets(
    connection: duckdb.DuckDBPyConnection,
    columns: Columns,
    looked: Mapping[str, Column],
    by_name: Mapping[str, ColumnFacts],
    person: str | None,
) -> None:
    """List the values of small sets, where every value is shared by many rows and many people."""
    # The estimate may be a little too high.
    small = [
        name
        for name, facts in by_name.items()
        if facts.texts and not facts.personal and 0 < facts.distinct <= 2 * MAX_VALUES
    ]
    if not small:
        return
    texts = [f"{looked[name].text} AS v{place}" for place, name in enumerate(small)]
    who = columns[person].value if person is not None else "NULL"
    marks = [f"v{place}" for place in range(len(small))]
    query = (
        f"SELECT {', '.join(marks)}, {', '.join(f'GROUPING({mark})' for mark in marks)},"
        " count(*), approx_count_distinct(who)"
        f" FROM (SELECT {', '.join(texts)}, {who} AS who FROM {columns.rows})"
        f" GROUP BY GROUPING SETS ({', '.join(f'({mark})' for mark in marks)})"
    )
    members: dict[str, list[tuple[str, int, int]]] = {name: [] for name in small}
    for row in connection.execute(query).fetchall():
        values, groupings = row[: len(small)], row[len(small) : -2]
        place = groupings.index(0)
        if values[place] is not None:
            members[small[place]].append((values[place], row[-2], row[-1]))
    for name, found in members.items():
        if len(found) <= MAX_VALUES and all(_is_common(*one, counted=person is not None) for one in found):
            by_name[name].values = tuple(sorted(value for value, _, _ in found))


def _is_common(value: str, rows: int, persons: int, *, counted: bool) -> bool:
    shared = rows >= MIN_ROWS and (persons >= MIN_PERSONS or not counted)
    harmless = value.isprintable() and len(value) <= 100 and not _PERSONAL_VALUE.search(value)
    return shared and harmless


class _Asked:
    """Aggregates over all rows, each known by a column and a word; all of them are one scan."""

    def __init__(self) -> None:
        self._aggregates: dict[tuple[str, str], str] = {}

    def add(self, name: str, word: str, aggregate: str) -> None:
        self._aggregates[name, word] = aggregate

    def of(self, connection: duckdb.DuckDBPyConnection, columns: Columns) -> dict[tuple[str, str], Any]:
        if not self._aggregates:
            return {}
        selected = ", ".join(self._aggregates.values())
        answers = connection.execute(f"SELECT {selected} FROM {columns.rows}").fetchone()
        return dict(zip(self._aggregates, answers or (), strict=True))
