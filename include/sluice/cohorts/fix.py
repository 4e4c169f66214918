"""Fixes a turn of a sync: who enters, who leaves, who is in, staged before the first byte leaves (ADR 14)."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sluice.cohorts import csv_files, diff, messages
from sluice.cohorts.chains import chain_of, claim_seconds, target_of
from sluice.cohorts.gate import expire_held
from sluice.cohorts.guard import beyond
from sluice.cohorts.heartbeat import Heartbeat, give_back
from sluice.cohorts.list_files import ENTER_VALUES, ENTERING, EXIT_VALUES, EXITING, MEMBERS, ROW_LOG
from sluice.cohorts.row_log import write_row_log
from sluice.cohorts.staged_file import StagingError
from sluice.cohorts.staging import download, folder_of, upload
from sluice.config import Config
from sluice.config.cohort_destinations import KinesisCohortDestination, S3CohortDestination
from sluice.config.cohorts import MAX_REAL_TIME_MEMBERS
from sluice.config.syncs import Sync
from sluice.errors import SluiceError
from sluice.lake import Lake
from sluice.ledger import Ledger, syncs
from sluice.ledger.syncs import Claim, Kind, Standing, SyncBusy, Turn, TurnFile, TurnLost

log = logging.getLogger(__name__)


class SyncRefused(SluiceError):
    """The turn cannot be: the message says why, and what to choose instead."""


class NotReconciled(SluiceError):
    """A turn's changes do not lead from the last delivered members to these: nothing was staged."""


@dataclass(frozen=True)
class Fixed:
    """What a fix step ends with: a turn to deliver, one that waits for a person, or none.

    `skipped` means that another run has the sync: this run leaves it alone, and `reason` says whose it is.
    """

    outcome: Literal["fixed", "held", "skipped"]
    turn: Turn | None
    reason: str | None = None

    @property
    def skipped(self) -> bool:
        """Whether the sync is left alone by this run."""
        return self.outcome == "skipped"

    @property
    def held(self) -> bool:
        """Whether the turn waits for a person's approval."""
        return self.outcome == "held"


def fix(
    sync: Sync,
    config: Config,
    lake: Lake,
    ledger: Ledger,
    *,
    as_of: datetime,
    run: str,
    sql_cursor: Any = None,
    scratch: Path | None = None,
) -> Fixed:
    """Fix the run's turn of a sync as of a time (UTC), or go on with the one that it has already.

    `sql_cursor` is an open DB-API cursor for a cohort with a connection; `scratch` is where the local files
    go, the system's temporary folder by default. Raises SyncRefused where a turn of that time cannot be
    (decisions K-10, K-18).
    """
    chain = chain_of(sync)
    seconds = claim_seconds(sync.cadence)
    expire_held(ledger, lake, sync)
    try:
        claim = syncs.claim(ledger, chain, run, seconds)
    except SyncBusy as busy:
        return _skipped(ledger, sync, run, busy)
    try:
        with Heartbeat(ledger, claim, seconds) as heartbeat:
            job = _Fix(sync, config, lake, ledger, claim, heartbeat, as_of, sql_cursor, scratch)
            turn = job.run()
    except TurnLost as lost:
        syncs.release(ledger, claim)
        return _skipped(ledger, sync, run, lost)
    except BaseException as error:
        give_back(ledger, claim, error)
        raise
    return Fixed("held" if turn.state == "held" else "fixed", turn, turn.reason)


def _skipped(ledger: Ledger, sync: Sync, run: str, reason: SluiceError) -> Fixed:
    log.info("Skipped: %s", reason)
    syncs.note_skipped(ledger, chain_of(sync), run, str(reason))
    return Fixed("skipped", None, str(reason))


@dataclass(frozen=True)
class _Fix:
    """One try at fixing a turn, by the run that holds the claim."""

    sync: Sync
    config: Config
    lake: Lake
    ledger: Ledger
    claim: Claim
    heartbeat: Heartbeat
    as_of: datetime
    sql_cursor: Any
    scratch: Path | None

    def run(self) -> Turn:
        """Return the turn to deliver, or the one that waits: an earlier one that goes on, or a new one."""
        standing = syncs.standing(self.ledger, self.claim)
        return self._goes_on(standing) or self._past(standing) or self._new(standing, "regular")

    @property
    def _destination(self) -> S3CohortDestination | KinesisCohortDestination:
        return self.sync.destination

    @property
    def _streamed(self) -> bool:
        return isinstance(self._destination, KinesisCohortDestination)

    def _goes_on(self, standing: Standing) -> Turn | None:
        """Return the turn that is fixed already and is to be finished, if there is one."""
        own = standing.own
        target = target_of(self._destination)
        if own is not None and own.state == "held":
            # A person answers; nobody else needs to be kept out meanwhile but by the turn itself.
            syncs.release(self.ledger, self.claim)
            return own
        if own is not None and own.is_open and own.target == target:
            log.info("The turn as of %s is fixed already: this run goes on with it.", own.as_of)
            return own
        last = standing.last
        if own is not None and last is not None and self._is_overtaken(own, last):
            raise TurnLost(f"The turn of the {own.chain} as of {_utc(own.as_of)} is over: {own.reason}")
        if last is None or not last.is_open or last.target != target:
            return None
        begun = self._streamed and last.messages_delivered > 0 and self.as_of > last.as_of
        if last.as_of == self.as_of or begun:
            # Half a stream of messages is better finished than told anew: a first population that takes
            # longer than the cadence would never get through.
            log.info("The run %s gave up the turn as of %s: this run finishes it.", last.run, last.as_of)
            return syncs.adopt(self.ledger, self.claim, last)
        return None

    def _is_overtaken(self, own: Turn, last: Turn) -> bool:
        """Whether this is a retry of a turn that a later one has superseded: no run of the past by intent."""
        here = own.target == target_of(self._destination)
        return own.state == "superseded" and here and own.as_of == self.as_of < last.as_of

    def _past(self, standing: Standing) -> Turn | None:
        """Return the turn of a run whose time is not after the last fixed one, None for any other.

        Rule: decisions K-18.
        """
        last = standing.last
        if last is None or self.as_of > last.as_of:
            return None
        moved = last.target != target_of(self._destination)
        if self.as_of == last.as_of and moved and last.state != "delivered":
            # Its bytes were fixed for another place: this one takes its place.
            return None
        done = syncs.delivered_as_of(self.ledger, self.claim.chain, self.as_of)
        if done is not None and not (done.kind == "existing" and done.bytes_gone_at):
            return self._resend(standing, done)
        if self._streamed:
            raise SyncRefused(
                f"The sync {self.sync.id} was fixed as of {_utc(last.as_of)} already, and nothing was"
                f" delivered as of {_utc(self.as_of)}: a stream takes no changes of the past. Its next run"
                " tells everything that changed since."
            )
        return self._new(standing, "existing")

    def _resend(self, standing: Standing, done: Turn) -> Turn:
        if done.bytes_gone_at is not None:
            raise SyncRefused(
                f"What the sync {self.sync.id} sent as of {_utc(done.as_of)} was kept for row_log_days and is"
                f" gone since {_utc(done.bytes_gone_at)}: it cannot be sent again. A new run sends what is"
                " new since the last one; a destination of a new name begins anew."
            )
        if done.target != target_of(self._destination):
            raise SyncRefused(
                f"The turn of the sync {self.sync.id} as of {_utc(done.as_of)} went to {done.target}, and the"
                f" destination is {target_of(self._destination)} now: fixed bytes are sent to no other place."
            )
        log.info("The turn as of %s was delivered: its bytes are sent again.", done.as_of)
        again = replace(
            done,
            number=standing.number + 1,
            kind="resend",
            state="fixed",
            run=self.claim.run,
            sent=False,
            source=done.number,
            files_delivered=0,
            messages_delivered=0,
            sending_at=None,
            finished_at=None,
            reason=None,
            decided_by=None,
        )
        return self._record(again)

    def _new(self, standing: Standing, kind: Kind) -> Turn:
        """Look at the cohort, compare, stage all files, fix."""
        # Only a new turn needs the engine, which takes a while to import.
        from sluice.cohorts.snapshot import take_snapshot

        began = time.monotonic()
        baseline = standing.baseline if kind == "regular" else None
        computed_time = syncs.next_computed_time(self.ledger, self.sync.id)
        turn = Turn(
            chain=self.claim.chain,
            number=standing.number + 1,
            kind=kind,
            state="fixed",
            run=self.claim.run,
            cadence=self.sync.cadence,
            as_of=self.as_of,
            computed_time=computed_time,
            folder=folder_of(self.sync.id, computed_time, self.claim.token),
            target=target_of(self._destination),
            config_hash=self.sync.hash,
            baseline=baseline.number if baseline else None,
        )
        with tempfile.TemporaryDirectory(prefix="sluice-sync-", dir=self.scratch) as temporary:
            here = Path(temporary)
            taken = take_snapshot(
                self.sync.cohort,
                self.config,
                self.lake,
                self.as_of,
                here / "snapshot.parquet",
                ledger=self.ledger,
                sql_cursor=self.sql_cursor,
            )
            self._check_size(taken.members)
            self.heartbeat.check()
            before = self._before(standing, here) if kind == "regular" else diff.Before()
            self.heartbeat.check()
            folder = here / "turn"
            folder.mkdir()
            lists = diff.diff(
                taken.path,
                before,
                match_by=self._destination.match_by,
                properties=self.sync.properties,
                as_of=self.as_of,
                folder=folder,
                values=self._streamed,
            )
            self.heartbeat.check()
            if not self.sync.cohort.quality.enabled and kind == "regular":
                # Else it is the turn's gate that compares, as it lies staged.
                _reconcile(lists)
            turn = self._write(turn, lists, folder)
            self.heartbeat.check()
            turn = replace(turn, files=upload(self.lake, folder, turn.folder, turn.files))
        log.info(
            "Fixed the %s as of %s in %.1f s: %s entering, %s exiting, %s existing, %s skipped.",
            turn.chain,
            _utc(turn.as_of),
            time.monotonic() - began,
            *(f"{turn.counts[name]:,}" for name in ("entering", "exiting", "existing", "skipped")),
        )
        return self._record(turn)

    def _check_size(self, members: int) -> None:
        if self.sync.cadence == "real_time" and members > MAX_REAL_TIME_MEMBERS:
            raise SyncRefused(
                f"The cohort {self.sync.cohort.id} has {members:,} members; a real-time sync takes up to"
                f" {MAX_REAL_TIME_MEMBERS:,}. Set `cadence: hourly` of the sync {self.sync.id}, or narrow the"
                " cohort. Nothing was sent."
            )

    def _before(self, standing: Standing, here: Path) -> diff.Before:
        """Fetch what the destination was told: the baseline, and the lists of turns that were given up."""

        def fetch(turn: Turn, name: str) -> Path:
            try:
                return download(self.lake, turn, name, here / f"{turn.number}-{name}")
            except StagingError:
                # Gone with good reason where another run has delivered a later turn: then it has the sync.
                syncs.renew(self.ledger, self.claim, claim_seconds(self.sync.cadence))
                raise

        baseline = fetch(standing.baseline, MEMBERS) if standing.baseline else None
        if not standing.undelivered:
            return diff.Before(baseline)
        log.info(
            "%d turns since the baseline were sent in part or unseen: made good.", len(standing.undelivered)
        )
        # Each turn names again whom the one before it named, and who leaves in it was in the baseline or a
        # maybe, who enters in it was not or is one: so its two lists together stand for those of all.
        last = standing.undelivered[-1]
        named = [fetch(last, name) for name in (EXITING, ENTERING)]
        values = [fetch(last, name) for name in (EXIT_VALUES, ENTER_VALUES) if self._streamed]
        return diff.Before(
            baseline,
            maybe_entered=named,
            maybe_exited=named,
            maybe_enter_values=values,
            maybe_exit_values=values,
        )

    def _write(self, turn: Turn, lists: diff.Lists, folder: Path) -> Turn:
        """Write what leaves and the row log; return the turn with its files, its counts and its state."""
        counts = {
            "existing": lists.existing,
            "entering": lists.entering,
            "exiting": lists.exiting,
            "skipped": lists.skipped,
        }
        kept = [
            TurnFile(MEMBERS, lists.existing, 0, ""),
            TurnFile(ENTERING, lists.entering, 0, ""),
            TurnFile(EXITING, lists.exiting, 0, ""),
        ]
        commit_key = None
        if isinstance(self._destination, KinesisCohortDestination):
            written = messages.write_messages(lists, self.sync, self._destination, turn, folder)
            sent = [written.file]
            counts |= {
                "enter_values": written.entering,
                "exit_values": written.exiting,
                "without_properties": written.without_properties,
            }
            kept += [
                TurnFile(ENTER_VALUES, lists.enter_values or 0, 0, ""),
                TurnFile(EXIT_VALUES, lists.exit_values or 0, 0, ""),
            ]
        else:
            sent = csv_files.write_csv_files(
                lists, self.sync, self._destination, turn, folder, existing_only=turn.kind == "existing"
            )
            commit_key = sent[-1].key
        if turn.kind == "existing":
            # It is no step of the chain: beside its bytes only its gate asks who is in it.
            kept = kept[:1]
        else:
            rows = write_row_log(
                lists, folder, streamed=self._streamed, oversized=folder / messages.OVERSIZED
            )
            kept.append(TurnFile(ROW_LOG, rows, 0, ""))
        turn = replace(turn, files=(*sent, *kept), counts=counts, commit_key=commit_key)
        reason = beyond(self.sync.config, lists) if turn.kind == "regular" else None
        if reason is None:
            return turn
        until = self.ledger.now() + timedelta(hours=self.sync.config.approval_hours)
        return replace(turn, state="held", held_until=until, reason=reason)

    def _record(self, turn: Turn) -> Turn:
        self.heartbeat.check()
        settings = self.sync.as_json() if turn.kind == "regular" else None
        return syncs.fix(self.ledger, self.claim, turn, claim_seconds(self.sync.cadence), settings)


def _reconcile(lists: diff.Lists) -> None:
    from sluice.cohorts.reconcile import TurnLists
    from sluice.cohorts.turn_check import reconcile

    before = lists.before
    values = lists.enter_values is not None
    compared = TurnLists(
        lists.members_path,
        before.baseline,
        lists.entering_path,
        lists.exiting_path,
        tuple(before.maybe_entered),
        lists.enter_values_path if values else None,
        lists.exit_values_path if values else None,
        tuple(before.maybe_enter_values),
    )
    wrong = reconcile(compared, lists.existing).wrong
    if wrong is not None:
        raise NotReconciled(
            f"The lists of this turn contradict each other: {wrong}. Nothing was staged, and the baseline is"
            " as it was. Run the sync again; if it stays, report it as a fault of Sluice."
        )


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
