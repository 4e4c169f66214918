"""Exports a chunk of a backfill: many hours of one project, small ones side by side.

Each hour goes the same way as in hour.py, under the same claim (architecture invariant 3). What the hours of
a batch share is done once: claiming, listing, looking for open uploads, asking the lake for its files, and
checking them at their gates, between staging and publishing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from threading import Event
from typing import Any, TypeVar

from sluice.access.errors import Refused
from sluice.config import ExportConfig
from sluice.exports.backfill import BackfillPlanner, HourPlan, is_forced
from sluice.exports.bucket import Bucket, StoredObject
from sluice.exports.checks import Candidate
from sluice.exports.chunk_gate import ChunkGate
from sluice.exports.chunks import Chunk
from sluice.exports.gate import expire_held, hold
from sluice.exports.held import passing_by, waiting_hours
from sluice.exports.hour import HourOutcome, Run
from sluice.exports.hour_lines import DayLines
from sluice.exports.keeper import LEASE_SECONDS
from sluice.exports.plan import HOUR, as_listed, hour_state, with_markers, writes
from sluice.exports.publishing import publish
from sluice.exports.ranges import HourRange
from sluice.exports.staged import Content, StagedHour
from sluice.exports.staging import Stager, contents_of
from sluice.lake import Fingerprint, Lake, close_until, closed_until
from sluice.lake.projection import catch_up
from sluice.ledger import Ledger, exported
from sluice.ledger.exported import Claim, HourHeld, HourId
from sluice.quality.gate import Override, stopped

log = logging.getLogger(__name__)

T = TypeVar("T")

# A batch: hours that are claimed and listed together. Enough that what they share does not count, few enough
# that they are done long before a claim runs out.
_BATCH_HOURS = 96
_BATCH_EVENTS = 200_000
# An hour of more events than this has the machine for itself.
_ALONE = 50_000
# How often, in seconds, a chunk says how far it is.
_PROGRESS = 10.0


class ChunkExporter:
    """Exports chunks of one destination as one run, `parallelism` small hours at a time.

    Raises what Exporter raises; hours that another writer holds, or that their gate stops, do not stop the
    others of their chunk. `override` lets them pass their gates on a person's word.
    """

    def __init__(
        self,
        config: ExportConfig,
        *,
        lake: Lake,
        ledger: Ledger,
        bucket: Bucket,
        run: Run,
        parallelism: int = 4,
        lease_seconds: float = LEASE_SECONDS,
        override: Override | None = None,
    ) -> None:
        self._config = config
        self._lake = lake
        self._ledger = ledger
        self._bucket = bucket
        self._run = run
        self._parallelism = parallelism
        self._lease = lease_seconds
        self._override = override

    def export(self, chunk: Chunk) -> Iterator[HourOutcome]:
        """Export what of a chunk's hours is to be exported, and yield what became of each.

        Hours that are done already, by an earlier try or by another run, are not among them.
        """
        end = chunk.last + HOUR
        closed = closed_until(self._ledger, chunk.project)
        if closed is None or closed < end:
            # Normally done by the plan, for all chunks.
            close_until(self._lake, self._ledger, chunk.project, end, self._config.close_wait)
        catch_up(self._lake, self._ledger, self._lake.events())
        expire_held(self._config, lake=self._lake, ledger=self._ledger, bucket=self._bucket)
        # The main thread and its helpers, each with at most one transaction at a time.
        with (
            self._ledger.pooled(self._parallelism + 1) as ledger,
            ThreadPoolExecutor(self._parallelism, thread_name_prefix="sluice-hour") as executor,
        ):
            gate = ChunkGate(self._config, self._lake, ledger, self._run.id, self._override)
            work = _ChunkWork(self._config, self._lake, ledger, self._bucket, self._run, self._lease, gate)
            todo = work.todo(chunk)
            progress = _Progress(chunk, len(todo))
            for batch in _batches(todo):
                for outcome in work.export(chunk, batch, executor):
                    progress.add(outcome)
                    yield outcome


def raise_for_held(outcomes: Iterable[HourOutcome]) -> None:
    """Raise HourHeld if another writer held hours of a chunk, with the first one's sentence."""
    held = [outcome for outcome in outcomes if outcome.action == "held"]
    if held:
        more = f" The same holds for {len(held) - 1:,} other hours." if len(held) > 1 else ""
        raise HourHeld(held[0].note + more)


@dataclass(frozen=True)
class _Hour:
    """An hour that is claimed and to be exported: what it holds, and its objects as they are now."""

    claim: Claim
    content: Content
    objects: tuple[StoredObject, ...]


@dataclass(frozen=True)
class _Staged:
    """An hour whose uploads wait for its gate, with the sample of its lines."""

    claim: Claim
    candidate: Candidate


class _ChunkWork:
    def __init__(
        self,
        config: ExportConfig,
        lake: Lake,
        ledger: Ledger,
        bucket: Bucket,
        run: Run,
        lease: float,
        gate: ChunkGate,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._bucket = bucket
        self._run = run
        self._lease = lease
        self._gate = gate
        self._planner = BackfillPlanner(config, lake=lake, ledger=ledger, bucket=bucket)
        self._lines = DayLines(config, lake)
        self._stager = Stager(config, bucket, self._lines, run.id)
        # Of the batch at hand: the claims that nothing has ended yet, and what is staged under them.
        self._live: dict[datetime, Claim] = {}
        self._staged: dict[datetime, StagedHour] = {}

    def todo(self, chunk: Chunk) -> list[HourPlan]:
        """Return the chunk's hours that are still to be exported, in the order asked for."""
        hours = self._planner.hour_plans(
            chunk.project,
            chunk.range,
            chunk.last + HOUR,
            forced_before=chunk.forced_before,
            run=self._run.id,
        )
        found = [hour for hour in hours if hour.writes]
        return found[::-1] if chunk.newest_first else found

    def export(
        self, chunk: Chunk, batch: list[HourPlan], executor: ThreadPoolExecutor
    ) -> Iterator[HourOutcome]:
        """Claim a batch of hours, plan them anew, stage them, check them and publish what passes."""
        ids = {hour.hour: HourId(self._config.id, chunk.project, hour.hour) for hour in batch}
        claimed = {
            claim.id: claim
            for claim in exported.claim_all(self._ledger, ids.values(), self._run.id, self._lease)
        }
        # In the order asked for.
        claims = {hour: claimed[id] for hour, id in ids.items() if id in claimed}
        for hour in ids.keys() - claims.keys():
            yield _held(ids[hour], _who_holds(self._ledger, ids[hour]))
        self._live, self._staged = dict(claims), {}
        stop = Event()
        try:
            yield from self._waiting(claims)
            hours = list(self._plan(chunk, claims)) if claims else []
            yield from self._settled(claims, hours)
            rows = sum(hour.content.fingerprint.rows for hour in hours)
            staged: list[_Staged] = []
            for one in _in_parallel(executor, [partial(self._stage, hour, rows) for hour in hours], stop):
                if isinstance(one, _Staged):
                    staged.append(one)
                else:
                    yield one
            passed = []
            gates = self._gate.verdicts(chunk.project, [(one.claim, one.candidate) for one in staged])
            for one in staged:
                gate = gates.get(one.claim)
                if gate is None:
                    passed.append(partial(self._publish, one))
                    continue
                gate = hold(self._ledger, one.claim, gate, self._lease)
                # From here on the ledger has its uploads, and its gate holds them.
                del self._live[one.candidate.hour], self._staged[one.candidate.hour]
                yield HourOutcome(chunk.project, one.candidate.hour, "stopped", note=str(stopped(gate)))
            yield from _in_parallel(executor, passed, stop)
        finally:
            # Whatever is raised, here or by whoever asks for outcomes: nobody needs to wait for this run, and
            # whoever comes next begins these hours anew.
            stop.set()
            for left in list(self._staged.values()):
                self._stager.abandon(left)
            exported.release(self._ledger, *self._live.values())

    def _waiting(self, claims: dict[datetime, Claim]) -> Iterator[HourOutcome]:
        """Give back hours that the gates of other runs hold: they were planned before these did."""
        waiting = waiting_hours(self._ledger, self._config.id)
        for hour, claim in list(claims.items()):
            gate = waiting.get(claim.id)
            if gate is not None and gate.run != self._run.id:
                del claims[hour]
                yield HourOutcome(claim.id.project, hour, "waiting", note=passing_by(gate))

    def _settled(self, claims: dict[datetime, Claim], hours: list[_Hour]) -> Iterator[HourOutcome]:
        """Tell of hours that another run has exported since this chunk was looked at."""
        for hour in claims.keys() - {hour.claim.id.hour for hour in hours}:
            yield HourOutcome(claims[hour].id.project, hour, "unchanged")

    def _plan(self, chunk: Chunk, claims: dict[datetime, Claim]) -> Iterator[_Hour]:
        """Abort the uploads of other writers, then see what is there; under the claims, in this order."""
        self._abort_uploads(chunk.project, claims.keys())
        first, last = min(claims), max(claims)
        contents, version = contents_of(self._ledger, chunk.project, first, last)
        records = exported.records(self._ledger, self._config.id, chunk.project, first, last)
        files = exported.published_files_between(self._ledger, self._config.id, chunk.project, first, last)
        listed: dict[datetime, list[StoredObject]] = {}
        for item in self._bucket.objects(chunk.project, {hour.date() for hour in claims}):
            listed.setdefault(item.names.hour, []).append(item)
        self._lines.expect(claims.keys(), contents)
        for hour, claim in claims.items():
            content = Content(contents.get(hour, Fingerprint()), version)
            objects, record = tuple(listed.get(hour, ())), records.get(hour)
            state = hour_state(
                record,
                files.get(hour, ()),
                as_listed(record, objects) or with_markers(self._bucket, objects),
                self._planner.wanted(chunk.project, hour, content.fingerprint),
            )
            published_at = record.published_at if record is not None else None
            if is_forced(published_at, chunk.forced_before) or writes(
                state, "backfill", reexport_changed=True
            ):
                yield _Hour(claim, content, objects)

    def _abort_uploads(self, project: int, hours: Collection[datetime]) -> None:
        for upload in list(self._bucket.open_uploads(project, {hour.date() for hour in hours})):
            if upload.names.hour in hours:
                log.info("Aborting an upload of %s that another writer left open", upload.key)
                self._bucket.abort(upload.key, upload.upload_id)

    def _stage(self, hour: _Hour, batch_rows: int) -> _Staged | HourOutcome:
        id = hour.claim.id
        beat = _Beat(self._ledger, hour.claim, self._lease)
        sample = self._gate.sample(hour.content, batch_rows)
        try:
            view = with_markers(self._bucket, hour.objects)
            staged = self._stager.stage(id.project, id.hour, hour.content, view, beat, sample)
        except (HourHeld, Refused) as lost:
            # Refused: another writer has aborted the uploads.
            return self._lost(id, lost)
        self._staged[id.hour] = staged
        return _Staged(hour.claim, Candidate(id.hour, staged, sample.lines if sample is not None else None))

    def _publish(self, one: _Staged) -> HourOutcome:
        id, staged = one.claim.id, one.candidate.staged
        try:
            publish(self._bucket, self._ledger, one.claim, staged, self._lease, recorded=False)
        except (HourHeld, Refused) as lost:
            return self._lost(id, lost)
        del self._live[id.hour], self._staged[id.hour]
        return HourOutcome(id.project, id.hour, "published", staged.rows, staged.bytes, len(staged.files))

    def _lost(self, id: HourId, lost: HourHeld | Refused) -> HourOutcome:
        staged = self._staged.pop(id.hour, None)
        if staged is not None:
            self._stager.abandon(staged)
        # Its claim is another's, or was given back.
        del self._live[id.hour]
        log.warning("%s", lost)
        return _held(id, str(lost) if isinstance(lost, HourHeld) else _LOST.format(id=id, why=lost))


def _in_parallel(executor: ThreadPoolExecutor, calls: Sequence[Callable[[], T]], stop: Event) -> Iterator[T]:
    """Yield what the calls return, as they end; none begins after `stop` or after one has failed."""

    def unless_stopped(call: Callable[[], T]) -> T | None:
        return None if stop.is_set() else call()

    futures = [executor.submit(unless_stopped, call) for call in calls]
    try:
        for future in as_completed(futures):
            result = future.result()
            if result is not None:
                yield result
    except BaseException:
        stop.set()
        raise
    finally:
        _await(futures)


_LOST = (
    "Another writer holds the {id}: it has aborted this run's uploads ({why}). This run publishes nothing of"
    " it; let the other finish and run this one again."
)


class _Beat:
    """Keeps an hour's claim while a long one is written. Raises HourHeld if it is lost."""

    def __init__(self, ledger: Ledger, claim: Claim, lease: float) -> None:
        self._ledger = ledger
        self._claim = claim
        self._lease = lease
        self._renewed = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._renewed >= self._lease / 3:
            exported.renew(self._ledger, self._claim, self._lease)
            self._renewed = time.monotonic()


class _Progress:
    """Says now and then how far a chunk is."""

    def __init__(self, chunk: Chunk, hours: int) -> None:
        self._what = str(HourRange(chunk.first, chunk.last))
        self._hours = hours
        self._done = self._events = self._bytes = 0
        self._started = self._said = time.monotonic()

    def add(self, outcome: HourOutcome) -> None:
        self._done += 1
        self._events += outcome.rows
        self._bytes += outcome.bytes
        now = time.monotonic()
        if now - self._said >= _PROGRESS or self._done == self._hours:
            self._said = now
            log.info(
                "%s: %s of %s hours, %s events, %.1f MB, %.1f hours/s",
                self._what, f"{self._done:,}", f"{self._hours:,}", f"{self._events:,}", self._bytes / 1e6,
                self._done / max(now - self._started, 1e-6),
            )  # fmt: skip


def _batches(hours: list[HourPlan]) -> Iterator[list[HourPlan]]:
    """Cut hours into batches; a large hour is one of its own."""
    batch: list[HourPlan] = []
    events = 0
    for hour in hours:
        alone = hour.events > _ALONE
        if batch and (alone or len(batch) == _BATCH_HOURS or events + hour.events > _BATCH_EVENTS):
            yield batch
            batch, events = [], 0
        batch.append(hour)
        events += hour.events
        if alone:
            yield batch
            batch, events = [], 0
    if batch:
        yield batch


def _who_holds(ledger: Ledger, id: HourId) -> str:
    record = exported.record(ledger, id)
    run = record.run if record is not None else None
    return (
        f"Another writer holds the {id}: the run {run}. Let it finish, or wait until its claim runs out, and"
        " run this one again."
    )


def _held(id: HourId, note: str) -> HourOutcome:
    return HourOutcome(id.project, id.hour, "held", note=note)


def _await(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.cancel()
    for future in futures:
        if not future.cancelled():
            future.exception()
