"""The turns of cohort syncs: who works on one, what was fixed, how far it got (ADR 14, invariant 7).

A chain is a sync to the destination of one name, of one cohort; baselines hang on it (decisions K-17). Each
turn of a chain is fixed whole and goes through these states:

- fixed: staged, and nothing of it has left;
- held: staged, and waits for a person because it is beyond the sync's limits;
- stopped: staged, and its quality gate has it until a person releases or discards it; once released, it
  goes on where it was, which may be to wait for an approval;
- sending: set before its first byte leaves, so whatever may have been read of it is known from here on;
- delivered: everything has left; the newest of these is the baseline;
- superseded: a later turn took its place. If it ever was sending, its lists are among the maybes of the
  later ones until one of them is delivered;
- declined: a person said no, or nobody answered in time; nothing of it has left.

Every change locks the chain's row, and every change by a run shows that run's token, which each claim
raises: a run that slept while another took over changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, insert, or_, select, update

from sluice.errors import SluiceError
from sluice.ledger.database import Ledger, now
from sluice.ledger.tables import sync_chains, sync_turns, syncs

Kind = Literal["regular", "existing", "resend"]
State = Literal["fixed", "held", "stopped", "sending", "delivered", "superseded", "declined"]

# Longest reason that is kept, in characters: a message, not a log.
_MAX_REASON = 2_000
_OPEN: tuple[State, ...] = ("fixed", "sending")
# With these a turn waits for a person, and nothing of it has left.
_WAITING: tuple[State, ...] = ("held", "stopped")
_turns = sync_turns.c
_COLUMNS = list(_turns)


class SyncBusy(SluiceError):
    """Another run works on the sync, or waits for a person: this one leaves it alone."""


class NameTaken(SluiceError):
    """The files of a turn would overwrite those of another moment."""


class TurnLost(SluiceError):
    """Another run has taken the sync over since this one claimed it: this one stops."""


@dataclass(frozen=True, order=True)
class Chain:
    """A sync (its id) to a destination (its name) of a cohort (its id)."""

    sync: str
    destination: str
    cohort: str

    def __str__(self) -> str:
        return f"sync {self.sync} of cohort {self.cohort} to {self.destination}"


@dataclass(frozen=True)
class Claim:
    """A run's hold on a chain; good until another claim has a higher token."""

    chain: Chain
    run: str
    token: int


@dataclass(frozen=True)
class TurnFile:
    """One staged file of a turn, by its name in the turn's folder; `rows` are members or messages.

    `sent` files are what leaves, in this order; `key` is the object's key at the destination, if any. The
    others are the turn's lists and its row log, which stay in the lake.
    """

    name: str
    rows: int
    bytes: int
    sha256: str
    sent: bool = False
    key: str = ""


@dataclass(frozen=True)
class Turn:
    """One turn of a chain, as it was fixed; times are UTC, `computed_time` is in epoch seconds.

    `counts` has at least existing, entering, exiting and skipped. `folder` is below the lake's root, `target`
    names where the bytes go. `baseline` and `source` are numbers of turns of the same chain: the delivered
    one from which this differs, and the one that a resend sends again. `gate` is the id of the quality gate
    that let it pass or stopped it, and `gate_until` how long it stays stopped.
    """

    chain: Chain
    number: int
    kind: Kind
    state: State
    run: str
    cadence: str
    as_of: datetime
    computed_time: int
    folder: str
    target: str
    config_hash: str
    sent: bool = False
    source: int | None = None
    commit_key: str | None = None
    baseline: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    files: tuple[TurnFile, ...] = ()
    files_delivered: int = 0
    messages_delivered: int = 0
    fixed_at: datetime | None = None
    held_until: datetime | None = None
    sending_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str | None = None
    decided_by: str | None = None
    bytes_gone_at: datetime | None = None
    members_gone_at: datetime | None = None
    gate: str | None = None
    gate_until: datetime | None = None

    @property
    def sync(self) -> str:
        """The id of the sync."""
        return self.chain.sync

    @property
    def cohort(self) -> str:
        """The id of the cohort."""
        return self.chain.cohort

    @property
    def destination(self) -> str:
        """The name of the destination."""
        return self.chain.destination

    @property
    def sent_files(self) -> tuple[TurnFile, ...]:
        """What leaves, in the order of delivery."""
        return tuple(file for file in self.files if file.sent)

    @property
    def is_open(self) -> bool:
        """Whether it is fixed and may still be delivered."""
        return self.state in _OPEN

    def file(self, name: str) -> TurnFile | None:
        """Return the staged file of that name, or None."""
        return next((file for file in self.files if file.name == name), None)


@dataclass(frozen=True)
class Standing:
    """Where a chain stands: what a new turn of it has to know.

    `last` is the newest regular turn of which something left or still may, `baseline` the newest delivered
    one, `undelivered` are those after it that ever were sending (the maybes), oldest first. `number` and
    `own` are the highest number of all turns, and the newest turn of the run that asks.
    """

    number: int
    own: Turn | None
    last: Turn | None
    baseline: Turn | None
    undelivered: tuple[Turn, ...]


@dataclass(frozen=True)
class Note:
    """The last time that a chain's run failed or was skipped: which run, when, and why."""

    kind: Literal["failed", "skipped"]
    run: str
    at: datetime
    reason: str


@dataclass(frozen=True)
class ChainState:
    """A chain with who works on it now, if anybody does, and its last note."""

    chain: Chain
    run: str | None
    claimed_until: datetime | None
    note: Note | None


def claim(ledger: Ledger, chain: Chain, run: str, seconds: float) -> Claim:
    """Claim a chain for `seconds`: nobody holds it, the claim is over, or the same run has it.

    Raises SyncBusy where another run holds a live claim or has a turn that waits for a person; one that
    has waited its time is declined here. A full list of the past that waits is no step of the chain, and
    keeps nobody out.
    """
    with ledger.begin() as connection:
        connection.execute(
            ledger.insert(sync_chains).values(**asdict(chain), token=0).on_conflict_do_nothing()
        )
        row = _lock(connection, chain)
        moment = now(connection)
        if row.run != run and row.claimed_until is not None and row.claimed_until > moment:
            raise SyncBusy(
                f"The run {row.run} is still working on the {chain}, until {_utc(row.claimed_until)} unless"
                " it goes on: this run leaves it alone. The next one takes it up."
            )
        for turn in _select(
            connection,
            _of(chain),
            _turns.kind == "regular",
            _turns.state.in_(_WAITING),
            _turns.run != run,
        ):
            _pass_by(connection, turn, moment)
        connection.execute(
            update(sync_chains)
            .where(_of(chain, sync_chains.c))
            .values(run=run, token=row.token + 1, claimed_until=moment + timedelta(seconds=seconds))
        )
        return Claim(chain, run, row.token + 1)


def renew(ledger: Ledger, claim: Claim, seconds: float) -> None:
    """Prolong a claim. Raises TurnLost if another has been made since."""
    with ledger.begin() as connection:
        _hold(connection, claim)
        _prolong(connection, claim, seconds)


def release(ledger: Ledger, claim: Claim) -> None:
    """Give a claim back; nothing happens if another has been made since."""
    with ledger.begin() as connection:
        connection.execute(
            update(sync_chains)
            .where(_of(claim.chain, sync_chains.c), sync_chains.c.token == claim.token)
            .values(claimed_until=None)
        )


def note_failed(ledger: Ledger, claim: Claim, reason: str) -> None:
    """Record why a run's try failed, and give its claim back, if it still has it."""
    with ledger.begin() as connection:
        connection.execute(
            update(sync_chains)
            .where(_of(claim.chain, sync_chains.c), sync_chains.c.token == claim.token)
            .values(claimed_until=None, **_note("failed", claim.run, reason, now(connection)))
        )


def note_skipped(ledger: Ledger, chain: Chain, run: str, reason: str) -> None:
    """Record why a run left a chain alone."""
    with ledger.begin() as connection:
        connection.execute(
            update(sync_chains)
            .where(_of(chain, sync_chains.c))
            .values(_note("skipped", run, reason, now(connection)))
        )


def standing(ledger: Ledger, claim: Claim) -> Standing:
    """Return where a chain stands, for the run that claimed it. Raises TurnLost."""
    chain = claim.chain
    with ledger.begin() as connection:
        _hold(connection, claim)
        number = connection.execute(
            select(func.coalesce(func.max(_turns.number), 0)).where(_of(chain))
        ).scalar_one()
        regular = and_(_of(chain), _turns.kind == "regular")
        baseline = _newest(connection, regular, _turns.state == "delivered")
        since = baseline.number if baseline else 0
        return Standing(
            number=number,
            own=_newest(connection, _of(chain), _turns.run == claim.run),
            last=_newest(connection, regular, or_(_turns.sent, _turns.state.in_(["fixed", "held"]))),
            baseline=baseline,
            undelivered=tuple(
                _select(connection, regular, _turns.sent, _turns.state != "delivered", _turns.number > since)
            ),
        )


def next_computed_time(ledger: Ledger, sync: str) -> int:
    """Take the sync's next computed_time: now in epoch seconds, or one more than the last that was taken."""
    with ledger.begin() as connection:
        clock = int(now(connection).timestamp())
        following = syncs.c.computed_time + 1
        statement = (
            ledger.insert(syncs)
            .values(id=sync, computed_time=clock)
            .on_conflict_do_update(
                index_elements=["id"],
                set_={"computed_time": case((following > clock, following), else_=clock)},
            )
            .returning(syncs.c.computed_time)
        )
        return int(connection.execute(statement).scalar_one())


def fix(ledger: Ledger, claim: Claim, turn: Turn, seconds: float, config: Mapping[str, Any] | None) -> Turn:
    """Fix a staged turn and supersede what it takes the place of, in one transaction; return it as recorded.

    A regular turn supersedes every turn of its chain that is still fixed or sending, and any turn those of
    its run that a gate has stopped. `config` is recorded as the sync's configuration. Raises TurnLost if
    another run has claimed the chain since, and NameTaken if an earlier turn has sent other bytes under the
    same names.
    """
    chain = claim.chain
    with ledger.begin() as connection:
        _hold(connection, claim)
        moment = now(connection)
        if turn.commit_key is not None and turn.kind != "resend":
            _check_names(connection, turn)
        replaced = and_(_turns.state == "stopped", _turns.run == turn.run)
        if turn.kind == "regular":
            replaced = or_(replaced, and_(_turns.kind == "regular", _turns.state.in_(_OPEN)))
        for earlier in _select(connection, _of(chain), replaced):
            _change(
                connection,
                earlier,
                state="superseded",
                finished_at=moment,
                reason=f"The turn as of {_utc(turn.as_of)} (run {turn.run}) took its place.",
            )
        fixed = replace(turn, fixed_at=moment)
        connection.execute(insert(sync_turns).values(_values(fixed)))
        if config is not None:
            connection.execute(
                update(syncs)
                .where(syncs.c.id == chain.sync)
                .values(config=dict(config), config_hash=turn.config_hash)
            )
        if turn.state == "held":
            _prolong(connection, claim, None)
        else:
            _prolong(connection, claim, seconds)
    return fixed


def adopt(ledger: Ledger, claim: Claim, turn: Turn) -> Turn:
    """Take over an open turn that its run gave up, to finish it. Raises TurnLost."""
    with ledger.begin() as connection:
        _hold(connection, claim)
        if not _change(connection, turn, _turns.state.in_(_OPEN), run=claim.run):
            raise TurnLost(f"The turn of the {claim.chain} as of {_utc(turn.as_of)} is over already.")
    return replace(turn, run=claim.run)


def begin_sending(ledger: Ledger, claim: Claim, turn: Turn, seconds: float) -> Turn:
    """Record that the turn's bytes are about to leave. Raises TurnLost where it may no longer be sent."""
    with ledger.begin() as connection:
        _hold(connection, claim)
        moment = now(connection)
        sending = {"state": "sending", "sent": True, "sending_at": turn.sending_at or moment}
        if not _change(connection, turn, _turns.state.in_(_OPEN), _turns.run == claim.run, **sending):
            raise TurnLost(f"The turn of the {claim.chain} as of {_utc(turn.as_of)} is no longer to be sent.")
        _prolong(connection, claim, seconds)
        return _one(connection, turn)


def record_progress(
    ledger: Ledger, claim: Claim, turn: Turn, seconds: float, *, files: int = 0, messages: int = 0
) -> None:
    """Record how many files or messages of a turn have arrived, and prolong the claim. Raises TurnLost."""
    with ledger.begin() as connection:
        _hold(connection, claim)
        _change(connection, turn, files_delivered=files, messages_delivered=messages)
        _prolong(connection, claim, seconds)


def finish(ledger: Ledger, claim: Claim, turn: Turn) -> Turn:
    """Mark a turn delivered, only where this run is still sending it; the claim ends. Raises TurnLost."""
    with ledger.begin() as connection:
        _hold(connection, claim)
        done = {"state": "delivered", "finished_at": now(connection)}
        if not _change(connection, turn, _turns.state == "sending", _turns.run == claim.run, **done):
            raise TurnLost(f"The turn of the {claim.chain} as of {_utc(turn.as_of)} is no longer to be sent.")
        _prolong(connection, claim, None)
        return _one(connection, turn)


def give_up(ledger: Ledger, claim: Claim, turn: Turn, reason: str) -> Turn:
    """Mark an open turn superseded without another in its place; the next one will be. Raises TurnLost."""
    with ledger.begin() as connection:
        _hold(connection, claim)
        values = {"state": "superseded", "finished_at": now(connection), "reason": _short(reason)}
        _change(connection, turn, _turns.state.in_(_OPEN), **values)
        _prolong(connection, claim, None)
        return _one(connection, turn)


def stop(ledger: Ledger, claim: Claim, turn: Turn, gate: str, until: datetime) -> Turn:
    """Stop a turn of which nothing has left: its quality gate, by its id, has it until a person decides.

    The claim ends, as the turn itself keeps other runs out. Raises TurnLost.
    """
    with ledger.begin() as connection:
        _hold(connection, claim)
        values = {"state": "stopped", "gate": gate, "gate_until": until}
        if not _change(connection, turn, *_gated(claim), **values):
            raise TurnLost(f"The turn of the {claim.chain} as of {_utc(turn.as_of)} is no longer to be sent.")
        _prolong(connection, claim, None)
        return _one(connection, turn)


def pass_gate(ledger: Ledger, claim: Claim, turn: Turn, gate: str, seconds: float) -> Turn:
    """Record that a turn has passed its quality gate, and prolong the claim. Raises TurnLost.

    One that was stopped goes on where it was. If it waits for an approval as well, the time for that begins
    now, and the claim ends.
    """
    with ledger.begin() as connection:
        _hold(connection, claim)
        current = _one(connection, turn)
        values: dict[str, Any] = {"gate": gate, "gate_until": None}
        if current.state == "stopped":
            values["state"] = "fixed"
            if current.held_until is not None and current.fixed_at is not None and not current.decided_by:
                values["state"] = "held"
                values["held_until"] = now(connection) + (current.held_until - current.fixed_at)
        if not _change(connection, turn, *_gated(claim), **values):
            raise TurnLost(f"The turn of the {claim.chain} as of {_utc(turn.as_of)} is no longer to be sent.")
        passed = _one(connection, turn)
        _prolong(connection, claim, None if passed.state == "held" else seconds)
        return passed


def approve(ledger: Ledger, turn: Turn, by: str | None, seconds: float) -> Turn:
    """Let a held turn go on, and give its run a claim of `seconds` to send it; return it as it is now.

    Approving what was approved already changes nothing. Raises SyncBusy if it was declined meanwhile, or
    if its quality gate has stopped it, which no approval opens.
    """
    with ledger.begin() as connection:
        _lock(connection, turn.chain)
        if _change(connection, turn, _turns.state == "held", state="fixed", decided_by=by):
            connection.execute(
                update(sync_chains)
                .where(_of(turn.chain, sync_chains.c))
                .values(
                    run=turn.run,
                    token=sync_chains.c.token + 1,
                    claimed_until=now(connection) + timedelta(seconds=seconds),
                )
            )
        current = _one(connection, turn)
    if current.state == "declined":
        raise SyncBusy(
            f"The turn of the {turn.chain} as of {_utc(turn.as_of)} was declined: {current.reason} Its"
            " baseline is as it was; the next run makes a new turn."
        )
    if current.state == "stopped":
        raise SyncBusy(
            f"The turn of the {turn.chain} as of {_utc(turn.as_of)} is stopped by its quality gate: approval"
            f" does not release it. See `sluice quality show {turn.run}`."
        )
    return current


def decline(ledger: Ledger, turn: Turn, reason: str, by: str | None = None) -> Turn:
    """Give a held or stopped turn up; its baseline stays as it was. Return it as it is now."""
    with ledger.begin() as connection:
        _lock(connection, turn.chain)
        _decline(connection, turn, reason, by)
        return _one(connection, turn)


def turn_of(ledger: Ledger, chain: Chain, number: int) -> Turn:
    """Return a turn. Raises SluiceError if there is none of that number."""
    with ledger.begin() as connection:
        found = _newest(connection, _of(chain), _turns.number == number)
    if found is None:
        raise SluiceError(f"The {chain} has no turn {number}: run the sync's fix step first.")
    return found


def delivered_as_of(ledger: Ledger, chain: Chain, as_of: datetime) -> Turn | None:
    """Return the newest delivered turn of a chain of exactly that time, resends not counted, or None."""
    with ledger.begin() as connection:
        return _newest(
            connection,
            _of(chain),
            _turns.as_of == as_of,
            _turns.state == "delivered",
            _turns.kind != "resend",
        )


def turns(
    ledger: Ledger,
    *,
    sync: str | None = None,
    cohort: str | None = None,
    chain: Chain | None = None,
    states: Sequence[State] | None = None,
    kinds: Sequence[Kind] | None = None,
    number: int | None = None,
    with_lists: bool = False,
    with_bytes: bool = False,
    limit: int | None = None,
) -> list[Turn]:
    """Return turns, newest first: of a sync, of a cohort, of a chain, in some states, of some kinds.

    `number` says which one of the chain; `with_lists` leaves out those whose lists the clean-up took, and
    resends, which have none of their own; `with_bytes` those whose sent bytes it took.
    """
    conditions: list[ColumnElement[bool]] = []
    if sync is not None:
        conditions.append(_turns.sync == sync)
    if cohort is not None:
        conditions.append(_turns.cohort == cohort)
    if chain is not None:
        conditions.append(_of(chain))
    if states is not None:
        conditions.append(_turns.state.in_(states))
    if kinds is not None:
        conditions.append(_turns.kind.in_(kinds))
    if number is not None:
        conditions.append(_turns.number == number)
    if with_lists:
        conditions += [_turns.members_gone_at.is_(None), _turns.kind != "resend"]
    if with_bytes:
        conditions.append(_turns.bytes_gone_at.is_(None))
    order = (_turns.fixed_at.desc(), _turns.number.desc())
    with ledger.begin() as connection:
        rows = connection.execute(select(*_COLUMNS).where(*conditions).order_by(*order).limit(limit))
        return [_turn(row) for row in rows]


def folders(ledger: Ledger, sync: str) -> set[str]:
    """Return the folders of all turns of a sync."""
    with ledger.begin() as connection:
        return set(connection.execute(select(_turns.folder).where(_turns.sync == sync)).scalars())


def chains(ledger: Ledger) -> list[ChainState]:
    """Return every chain that a run ever claimed, with who works on it now."""
    with ledger.begin() as connection:
        moment = now(connection)
        rows = connection.execute(select(sync_chains).order_by(sync_chains.c.sync)).all()
    found = []
    for row in rows:
        live = row.claimed_until is not None and row.claimed_until > moment
        note = Note(row.note, row.note_run, row.note_at, row.note_reason) if row.note else None
        chain = Chain(row.sync, row.destination, row.cohort)
        found.append(ChainState(chain, row.run if live else None, row.claimed_until if live else None, note))
    return found


def recorded_configs(ledger: Ledger) -> dict[str, tuple[dict[str, Any] | None, str | None]]:
    """Return the configuration and its hash that each sync's last turn was fixed with, by sync id."""
    with ledger.begin() as connection:
        rows = connection.execute(select(syncs.c.id, syncs.c.config, syncs.c.config_hash))
        return {row.id: (row.config, row.config_hash) for row in rows}


def record_gone(ledger: Ledger, turn: Turn, *, bytes_gone: bool = False, members_gone: bool = False) -> None:
    """Record that the clean-up took a turn's sent bytes with its row log, or its lists."""
    with ledger.begin() as connection:
        moment = now(connection)
        values: dict[str, Any] = {}
        if bytes_gone:
            values["bytes_gone_at"] = moment
        if members_gone:
            values["members_gone_at"] = moment
        _change(connection, turn, **values)


def _lock(connection: Connection, chain: Chain) -> Row[Any]:
    """Lock a chain's row till the end of the transaction. Raises SluiceError if no run ever claimed it."""
    row = connection.execute(
        select(sync_chains).where(_of(chain, sync_chains.c)).with_for_update()
    ).one_or_none()
    if row is None:
        raise SluiceError(f"No run has ever worked on the {chain}.")
    return row


def _hold(connection: Connection, claim: Claim) -> None:
    """Lock the claim's chain. Raises TurnLost if the claim is no longer the newest."""
    row = _lock(connection, claim.chain)
    if row.token != claim.token:
        raise TurnLost(
            f"The run {row.run} has taken over the {claim.chain} since {claim.run} claimed it: this run"
            " stops, and what it may have sent is made good by the other."
        )


def _prolong(connection: Connection, claim: Claim, seconds: float | None) -> None:
    until = None if seconds is None else now(connection) + timedelta(seconds=seconds)
    connection.execute(update(sync_chains).where(_of(claim.chain, sync_chains.c)).values(claimed_until=until))


def _pass_by(connection: Connection, turn: Turn, moment: datetime) -> None:
    """Raise SyncBusy for a turn that waits for a person; decline one that has waited its time."""
    by_gate = turn.state == "stopped"
    until = turn.gate_until if by_gate else turn.held_until
    if until is None or until <= moment:
        ended = "Nobody let it go on in time." if by_gate else "Nobody answered in time."
        _decline(connection, turn, ended, None)
    elif by_gate:
        raise SyncBusy(
            f"The quality gate of the {turn.chain} has stopped the turn as of {_utc(turn.as_of)} (run"
            f" {turn.run}) until {_utc(until)}: this run leaves it alone. `sluice quality show {turn.run}`"
            " says why, and how to release or discard it."
        )
    else:
        raise SyncBusy(
            f"The {turn.chain} waits for a person's approval of the turn as of {_utc(turn.as_of)} (run"
            f" {turn.run}) until {_utc(until)}: this run leaves it alone. Approve or decline it in the"
            " Airflow UI."
        )


def _gated(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    """Say which turns stand before their gate: the run's own, of which nothing has left."""
    return (_turns.state.in_(("fixed", *_WAITING)), ~_turns.sent, _turns.run == claim.run)


def _decline(connection: Connection, turn: Turn, reason: str, by: str | None) -> None:
    values = {"state": "declined", "finished_at": now(connection), "reason": _short(reason), "decided_by": by}
    _change(connection, turn, _turns.state.in_(_WAITING), **values)


def _check_names(connection: Connection, turn: Turn) -> None:
    """Refuse names under which another moment's bytes were sent: they would be lost to the readers."""
    taken = _newest(
        connection,
        _of(turn.chain),
        _turns.commit_key == turn.commit_key,
        _turns.target == turn.target,
        _turns.sent,
        _turns.as_of != turn.as_of,
    )
    if taken is not None:
        raise NameTaken(
            f"The {turn.chain} as of {turn.as_of:%Y-%m-%d %H:%M:%S} UTC would have the same file names as its"
            f" turn as of {taken.as_of:%Y-%m-%d %H:%M:%S} UTC, which was sent: run it later, or set"
            " timestamp_format of the destination to %Y-%m-%dT%H-%M-%S."
        )


def _change(connection: Connection, turn: Turn, *conditions: ColumnElement[bool], **values: Any) -> bool:
    """Change a turn where the conditions hold; say whether they did."""
    done = connection.execute(
        update(sync_turns).where(_of(turn.chain), _turns.number == turn.number, *conditions).values(**values)
    )
    return done.rowcount > 0


def _of(chain: Chain, columns: Any = sync_turns.c) -> ColumnElement[bool]:
    return and_(
        columns.sync == chain.sync, columns.destination == chain.destination, columns.cohort == chain.cohort
    )


def _select(connection: Connection, *conditions: ColumnElement[bool]) -> list[Turn]:
    rows = connection.execute(select(*_COLUMNS).where(*conditions).order_by(_turns.number))
    return [_turn(row) for row in rows]


def _newest(connection: Connection, *conditions: ColumnElement[bool]) -> Turn | None:
    row = connection.execute(
        select(*_COLUMNS).where(*conditions).order_by(_turns.number.desc()).limit(1)
    ).first()
    return None if row is None else _turn(row)


def _one(connection: Connection, turn: Turn) -> Turn:
    return _select(connection, _of(turn.chain), _turns.number == turn.number)[0]


def _turn(row: Row[Any]) -> Turn:
    values = dict(row._mapping)
    chain = Chain(*(values.pop(name) for name in ("sync", "destination", "cohort")))
    values["files"] = tuple(TurnFile(**file) for file in values["files"])
    return Turn(chain=chain, **values)


def _values(turn: Turn) -> dict[str, Any]:
    values = {field.name: getattr(turn, field.name) for field in fields(turn)}
    del values["chain"]
    values["counts"] = dict(turn.counts)
    values["files"] = [asdict(file) for file in turn.files]
    return values | asdict(turn.chain)


def _note(kind: str, run: str, reason: str, moment: datetime) -> dict[str, Any]:
    return {"note": kind, "note_run": run, "note_at": moment, "note_reason": _short(reason)}


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _short(reason: str) -> str:
    return reason if len(reason) <= _MAX_REASON else reason[: _MAX_REASON - 1] + "…"
