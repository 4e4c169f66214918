"""The verdicts of quality gates, and what a person decided about the work that one of them stopped.

A gate is known by what it stands in front of: pipeline, name (of destination, source or sync), run and unit
(an hour, a load, a turn). Its verdict is for one `content`: the same run that stages something else is
checked again. The states:

- passed, warned: the work may go on; warned, if an expectation failed that only warns;
- held: stopped; nobody but its own run touches what is staged, until one of the following;
- overridden: stopped, but the run had been told beforehand to go on, by whom and why is on record;
- released: a person let it go on, for this content;
- discarded, expired: what was staged is given up, by a person or because nobody decided in time.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, case, func, or_, select, update

from sluice.errors import SluiceError
from sluice.ledger.database import Ledger, now
from sluice.ledger.tables import quality_gates

Pipeline = Literal["export", "import", "cohort"]
State = Literal["passed", "warned", "held", "overridden", "released", "discarded", "expired"]

# With these, what the gate stands in front of may become visible.
OPEN: tuple[State, ...] = ("passed", "warned", "overridden", "released")
# How long others pass by what was released at the end of its time: until somebody has cleared its tasks.
_AFTER_RELEASE = timedelta(hours=24)
# Longest reason that is kept, in characters.
_MAX_REASON = 2_000
_gates = quality_gates.c


class GateDecided(SluiceError):
    """The gate is not held, or no longer: there is nothing to release or discard."""


@dataclass(frozen=True)
class GateId:
    """What a gate stands in front of."""

    pipeline: Pipeline
    name: str
    run: str
    unit: str

    def __str__(self) -> str:
        return f"{self.unit} of {self.name} (run {self.run})"


@dataclass(frozen=True)
class Gate:
    """A gate's record; times are UTC, `seconds` is how long the check took.

    `results` is what each expectation gave, as JSON; `rows` were there, `sampled` of them looked at one by
    one; `report` is the path of the report below the lake's root.
    """

    id: str
    pipeline: Pipeline
    name: str
    run: str
    unit: str
    content: str
    state: State
    rows: int
    sampled: int
    failed: int
    warnings: int
    results: Sequence[Mapping[str, Any]]
    report: str | None
    seconds: float
    checked_at: datetime
    held_until: datetime | None
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None

    @property
    def gate(self) -> GateId:
        """What it stands in front of."""
        return GateId(self.pipeline, self.name, self.run, self.unit)

    @property
    def is_open(self) -> bool:
        """Whether what it stands in front of may become visible."""
        return self.state in OPEN


_COLUMNS = [quality_gates.c[field.name] for field in fields(Gate)]


def new_id() -> str:
    """Return a fresh id for a gate: its report's name."""
    return uuid.uuid4().hex


def record(
    ledger: Ledger,
    gate: Gate,
    hold_hours: float,
    known: Gate | None = None,
    *,
    over_release: bool = False,
) -> Gate:
    """Record a verdict in the place of an earlier one of the same gate; return it as recorded.

    A held gate expires after `hold_hours`, counted from now by the ledger's clock. `known` is the record from
    before the check: what was decided about the same content since then stays, and a release always does,
    except `over_release`: for what whoever has released it could not know.
    """
    with ledger.begin() as connection:
        moment = now(connection)
        until = moment + timedelta(hours=hold_hours) if gate.state == "held" else None
        gate = replace(gate, checked_at=moment, held_until=until, reason=_short(gate.reason))
        values = {field.name: getattr(gate, field.name) for field in fields(Gate)}
        decided = [] if over_release else ["released"]
        if known is not None and known.state == "held":
            decided += ["discarded", "expired"]
        kept = and_(_gates.state.in_(decided), _gates.content == gate.content)
        statement = ledger.insert(quality_gates).values(values)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["pipeline", "name", "run", "unit"], set_=values, where=~kept
            )
        )
        return _one(connection, _is(gate.gate))


def find(ledger: Ledger, gate: GateId) -> Gate | None:
    """Return the verdict of a gate, or None if nothing was checked yet."""
    found = _select(ledger, _is(gate))
    return found[0] if found else None


def by_id(ledger: Ledger, id: str) -> Gate | None:
    """Return a gate by its id, or None."""
    found = _select(ledger, _gates.id == id)
    return found[0] if found else None


def of_run(ledger: Ledger, run: str) -> list[Gate]:
    """Return all gates of a run, by their units."""
    return _select(ledger, _gates.run == run)


def of_run_id(ledger: Ledger, run_id: str) -> list[Gate]:
    """Return the gates of the runs of this id, of whichever DAGs they are."""
    return _select(ledger, _gates.run.endswith(f"/{run_id}", autoescape=True))


def by_id_start(ledger: Ledger, start: str) -> list[Gate]:
    """Return the gates whose id begins like this."""
    return _select(ledger, _gates.id.startswith(start, autoescape=True))


def newest_runs(ledger: Ledger, limit: int) -> list[str]:
    """Return the names of the runs whose gates were checked last, newest first."""
    newest_check = func.max(_gates.checked_at)
    statement = select(_gates.run).group_by(_gates.run).order_by(newest_check.desc()).limit(limit)
    with ledger.begin() as connection:
        return list(connection.execute(statement).scalars())


def units_of_run(ledger: Ledger, run: str) -> set[str]:
    """Return what of a run has a gate already."""
    with ledger.begin() as connection:
        return set(connection.execute(select(_gates.unit).where(_gates.run == run)).scalars())


def held(ledger: Ledger, pipeline: Pipeline | None = None, name: str | None = None) -> list[Gate]:
    """Return the gates that wait for a person, the oldest first; those whose time is over are among them."""
    conditions = [_gates.state == "held"]
    if pipeline is not None:
        conditions.append(_gates.pipeline == pipeline)
    if name is not None:
        conditions.append(_gates.name == name)
    return _select(ledger, *conditions)


def waiting(ledger: Ledger, pipeline: Pipeline, name: str) -> list[Gate]:
    """Return what others pass by, the oldest first: the held gates, and those that a person has released.

    A released one is among them for as long as it could have been held, and for a day after its release at
    least: its run has yet to go on.
    """
    with ledger.begin() as connection:
        statement = (
            select(*_COLUMNS)
            .where(
                _gates.pipeline == pipeline,
                _gates.name == name,
                still_waiting(now(connection)),
            )
            .order_by(_gates.checked_at, _gates.unit)
        )
        return [Gate(*row) for row in connection.execute(statement)]


def still_waiting(moment: Any) -> ColumnElement[bool]:
    """Return the condition of gates that others pass by at a moment, for a query on `quality_gates`."""
    return or_(_gates.state == "held", and_(_gates.state == "released", _gates.held_until > moment))


def newest(
    ledger: Ledger, limit: int, pipeline: Pipeline | None = None, name: str | None = None
) -> list[Gate]:
    """Return the gates that were checked last, newest first."""
    statement = select(*_COLUMNS).order_by(_gates.checked_at.desc(), _gates.unit).limit(limit)
    if pipeline is not None:
        statement = statement.where(_gates.pipeline == pipeline)
    if name is not None:
        statement = statement.where(_gates.name == name)
    with ledger.begin() as connection:
        return [Gate(*row) for row in connection.execute(statement)]


def release(ledger: Ledger, gate: Gate, by: str, reason: str) -> Gate:
    """Let held work go on, for the content that was checked. Raises GateDecided if it is not held.

    Others pass it by for a day longer at least, however late that is: its run has yet to go on.
    """
    return _decide(ledger, gate, "released", by, reason)


def discard(ledger: Ledger, gate: Gate, by: str, reason: str) -> Gate:
    """Give held work up; the caller removes what is staged. Raises GateDecided if it is not held."""
    return _decide(ledger, gate, "discarded", by, reason)


def expire(ledger: Ledger, pipeline: Pipeline, name: str) -> list[Gate]:
    """Give up what nobody decided about in time, and return it; the callers remove what is staged."""
    with ledger.begin() as connection:
        moment = now(connection)
        due = and_(
            _gates.state == "held",
            _gates.pipeline == pipeline,
            _gates.name == name,
            _gates.held_until <= moment,
        )
        reason = "Nobody released or discarded it in time: what was staged is given up."
        statement = (
            update(quality_gates)
            .where(due)
            .values(state="expired", decided_at=moment, reason=reason)
            .returning(_gates.id)
        )
        ids = connection.execute(statement).scalars().all()
        if not ids:
            return []
        return [Gate(*row) for row in connection.execute(select(*_COLUMNS).where(_gates.id.in_(ids)))]


def _decide(ledger: Ledger, gate: Gate, state: State, by: str, reason: str) -> Gate:
    with ledger.begin() as connection:
        moment = now(connection)
        values: dict[str, Any] = {"decided_at": moment, "decided_by": by, "reason": _short(reason)}
        if state == "released":
            until = moment + _AFTER_RELEASE
            values["held_until"] = case((_gates.held_until > until, _gates.held_until), else_=until)
        done = connection.execute(
            update(quality_gates)
            .where(_is(gate.gate), _gates.state == "held", _gates.content == gate.content)
            .values(state=state, **values)
        )
        current = _one(connection, _is(gate.gate))
    if done.rowcount == 0 and (current.state != state or current.content != gate.content):
        raise GateDecided(
            f"The {gate.gate} is not held: it is {current.state}"
            + (f", decided by {current.decided_by}" if current.decided_by else "")
            + ". Look at it again with `sluice quality show`."
        )
    return current


def _is(gate: GateId) -> ColumnElement[bool]:
    return and_(
        _gates.pipeline == gate.pipeline,
        _gates.name == gate.name,
        _gates.run == gate.run,
        _gates.unit == gate.unit,
    )


def _one(connection: Any, condition: ColumnElement[bool]) -> Gate:
    return Gate(*connection.execute(select(*_COLUMNS).where(condition)).one())


def _select(ledger: Ledger, *conditions: ColumnElement[bool]) -> list[Gate]:
    statement = select(*_COLUMNS).where(*conditions).order_by(_gates.checked_at, _gates.unit)
    with ledger.begin() as connection:
        return [Gate(*row) for row in connection.execute(statement)]


def _short(reason: str | None) -> str | None:
    return reason if reason is None or len(reason) <= _MAX_REASON else f"{reason[: _MAX_REASON - 1]}…"
