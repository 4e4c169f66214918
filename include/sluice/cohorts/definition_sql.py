"""A behavioural definition as SQL: the statement that is shown is the one that is run.

A person is an Amplitude ID; in a portfolio one person's IDs in several projects are joined by the user id
(decisions K-16). Time is that of `server_upload_time`, the clock of the as-of time and of the lake's files,
so that a definition of seven days opens the files of seven days. One pass over the events counts for each
person what each test asks; the tree of tests is then the condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sluice.config.definitions import Definition, Did, DidNot, FirstSeen, Had
from sluice.config.filters import clauses_of
from sluice.event_filters import ConditionWriter, identifier, json_pointer, literal

_CONDITIONS = ConditionWriter()
# The latest by the total order of a project's rows: two rows may have one time.
_ORDER = "(server_upload_time, loaded_at, seq)"
# Somebody without a user id, whom only the Amplitude ID tells from others.
_ANONYMOUS = "CASE WHEN max(user_id) IS NULL THEN amplitude_id END AS anonymous"


def definition_sql(definition: Definition, properties: Sequence[str], *, portfolio: bool = False) -> str:
    """Return the query of a definition: ids and the latest values of user properties, as JSON.

    The latest are those of the events that the query looks at: the last days of the longest test, or all
    where a person may be a member without an event in them. A portfolio's has `app` besides.
    """
    tests = _Tests(portfolio)
    condition = tests.sql(definition)
    people = [*(["app"] if portfolio else []), "amplitude_id", "max(user_id) AS user_id"]
    people += [_ANONYMOUS] if portfolio else []
    people += [f"{sql} AS {name}" for sql, name in tests.asked.items()]
    members = ["app", "min(amplitude_id) AS amplitude_id"] if portfolio else ["amplitude_id"]
    members += ["user_id"]
    for number, name in enumerate(properties, 1):
        # Names of their own until the end: a property may be called like a column of the events.
        value, latest, at = _property(name), f"latest_{number}", f"latest_{number}_at"
        people.append(f"arg_max({value}, {_ORDER}) AS {latest}")
        if portfolio:
            people.append(f"max({_ORDER}) FILTER ({value} IS NOT NULL) AS {at}")
            latest = f"arg_max({latest}, {at})"
        members.append(f"{latest} AS {identifier(name)}")
    lines = [
        "WITH people AS (",
        "    SELECT",
        "        " + ",\n        ".join(people),
        "    FROM events",
        *(f"    WHERE {looked_at}" for looked_at in [_looked_at(definition)] if looked_at),
        f"    GROUP BY {'app, ' if portfolio else ''}amplitude_id",
        ")",
        f"SELECT {', '.join(members)}",
        "FROM people",
    ]
    if portfolio:
        lines.append("GROUP BY app, user_id, anonymous")
        # A person's events lie in several projects.
        lines.append("WINDOW person AS (PARTITION BY user_id, anonymous)")
    lines.append(f"{'QUALIFY' if portfolio else 'WHERE'} {condition}")
    return "\n".join(lines)


def _property(name: str) -> str:
    return f"nullif(json_extract(user_properties, {literal(json_pointer([name]))}), 'null')"


@dataclass
class _Tests:
    """Writes the tests of a tree; `asked` has what each person's events are asked, with its name."""

    portfolio: bool
    asked: dict[str, str] = field(default_factory=dict)

    def sql(self, node: Definition, *, inner: bool = False) -> str:
        """Return a node as a condition on a person, in brackets if it is one of several parts and `inner`."""
        if node.all is not None:
            return _joined(" AND ", [self.sql(child, inner=True) for child in node.all], inner)
        if node.any is not None:
            return _joined(" OR ", [self.sql(child, inner=True) for child in node.any], inner)
        if node.not_ is not None:
            return f"NOT ({self.sql(node.not_)})"
        if node.first_seen is not None:
            return _joined(" AND ", self._first_seen(node.first_seen), inner)
        if node.did is not None:
            return f"{self._count(_did(node.did))} >= {node.did.at_least}"
        if node.did_not is not None:
            return f"{self._count(_did(node.did_not))} = 0"
        assert node.had is not None
        return f"{self._count(_had(node.had))} > 0"

    def _count(self, condition: str) -> str:
        return self._of_person("sum", f"count(*) FILTER ({condition})", "test")

    def _first_seen(self, period: FirstSeen) -> list[str]:
        first = self._of_person("min", "min(server_upload_time)", "first")
        bounds = ((">=", period.from_), ("<", period.to))
        return [f"{first} {operator} {_instant(bound)}" for operator, bound in bounds if bound is not None]

    def _of_person(self, over: str, sql: str, name: str) -> str:
        """Return what is asked of a person's events, which in a portfolio lie in several projects."""
        column = self.asked.setdefault(sql, f"{name}_{len(self.asked) + 1}")
        return f"{over}({over}({column})) OVER person" if self.portfolio else column


def _looked_at(definition: Definition) -> str:
    """Return the condition on the events that are looked at; an empty text if all are."""
    # Is somebody without any event in the longest of the last days a member? Then all are looked at.
    if any(test.first_seen for test in definition.tests()) or _holds_without_events(definition):
        return ""
    return _since(max(_days(test) for test in definition.tests()))


def _holds_without_events(node: Definition) -> bool:
    if node.all is not None:
        return all(map(_holds_without_events, node.all))
    if node.any is not None:
        return any(map(_holds_without_events, node.any))
    if node.not_ is not None:
        return not _holds_without_events(node.not_)
    return node.did_not is not None


def _days(node: Definition) -> int:
    test = node.did or node.did_not or node.had
    assert test is not None
    return test.last_days


def _did(test: Did | DidNot) -> str:
    conditions = [_CONDITIONS.all_of([clause]) for clause in clauses_of(test.where)]
    return " AND ".join([f"event_type = {literal(test.event)}", *conditions, _since(test.last_days)])


def _had(test: Had) -> str:
    return f"{_CONDITIONS.test(test.test)} AND {_since(test.last_days)}"


def _since(days: int) -> str:
    return f"server_upload_time >= $as_of - INTERVAL {days} DAY"


def _instant(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.astimezone(UTC).isoformat(' ')}'"


def _joined(operator: str, parts: list[str], inner: bool) -> str:
    joined = operator.join(parts)
    return f"({joined})" if inner and len(parts) > 1 else joined
