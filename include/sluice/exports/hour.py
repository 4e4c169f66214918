"""Exports hours: stages them, in one task, and publishes them, in the next.

Both may be killed at any point and run again, by the same run or by another; what is in the bucket in the
end is the same. An hour that is exported already is left alone: nothing is read, nothing is written.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sluice.access.errors import Refused
from sluice.config import ExportConfig
from sluice.exports.bucket import Bucket, OpenUpload
from sluice.exports.errors import ForeignHour
from sluice.exports.form import config_hash, filter_hash, layout_of
from sluice.exports.gate import expire_held, staged_hour
from sluice.exports.held import content_text, gate_of, passing_by, waiting_elsewhere
from sluice.exports.hour_lines import HourLines
from sluice.exports.keeper import LEASE_SECONDS, Keeper
from sluice.exports.keys import whole_hour
from sluice.exports.outside import Outside
from sluice.exports.plan import HOUR, HourState, HourView, RunKind, Wanted, catch_up, hour_state, look, writes
from sluice.exports.publishing import publish
from sluice.exports.ranges import HourRange
from sluice.exports.repair import backfill_command
from sluice.exports.samples import LineSample, remove_sample, write_sample
from sluice.exports.staged import STAGING, Content, StagedHour
from sluice.exports.staging import Stager, content_of
from sluice.lake import Fingerprint, Lake, close_until, hour_fingerprints
from sluice.ledger import Ledger, exported, quality
from sluice.ledger.exported import Claim, HourHeld, HourId, HourRecord
from sluice.ledger.registry import record_destination
from sluice.quality.gate import QualityNotChecked, QualityStopped, require_open

log = logging.getLogger(__name__)

Action = Literal["staged", "published", "unchanged", "left", "held", "foreign", "stopped", "waiting"]

_NOT_AS_IT_WAS = (
    "not as it was when this run looked at it, and what it is now is not checked; a later run or a backfill"
    " exports it again"
)


@dataclass(frozen=True)
class Run:
    """Who exports: the id of the run, the same for its retries and its tasks, and why it runs."""

    id: str
    kind: RunKind


@dataclass(frozen=True)
class HourOutcome:
    """What became of one hour: `rows`, `bytes` (compressed) and `files` of what is or will be in the bucket.

    unchanged: provably what is there already; left: exported before, and its content has changed since;
    held: another writer is at it; foreign: there is a marker that the ledger does not know; stopped: it is
    staged, and its quality gate does not let it pass; waiting: the gate of another run holds it.
    """

    project: int
    hour: datetime
    action: Action
    rows: int = 0
    bytes: int = 0
    files: int = 0
    note: str = ""


class Exporter:
    """Exports hours of one destination as one run.

    `bucket` is the destination's, below its prefix. Raises BucketAccessError for what the receiving side has
    to change, HourHeld if another writer holds the run's own hour, ForeignHour if the schedule finds a
    marker there that is not the ledger's.

    It is one task's: what is the same for all its hours is done once, and an hour that a gate has stopped is
    not tried again.
    """

    def __init__(
        self,
        config: ExportConfig,
        *,
        lake: Lake,
        ledger: Ledger,
        bucket: Bucket,
        run: Run,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._config = config
        self._lake = lake
        self._ledger = ledger
        self._bucket = bucket
        self._run = run
        self._lease = lease_seconds
        self._stager = Stager(config, bucket, HourLines(config, lake), run.id)
        self._layout = layout_of(config)
        self._keeper = Keeper(ledger, lease_seconds)
        self._looked_for_expired = False
        # What publishing has found behind closed gates.
        self._behind_gates: dict[HourId, HourOutcome] = {}

    def export(self, hour: datetime) -> list[HourOutcome]:
        """Close the hour for every project and stage it, and in a scheduled run what E-14 adds to it.

        Raises HourNotOver for an hour that has not ended. A problem with an added hour is an outcome, not an
        error: it must not keep the run's own hour from being published.
        """
        own = whole_hour(hour)
        start = self._start()
        if not self._looked_for_expired:
            expire_held(self._config, lake=self._lake, ledger=self._ledger, bucket=self._bucket)
            self._looked_for_expired = True
        outcomes = []
        for project in self._config.projects:
            close_until(self._lake, self._ledger, project, own + HOUR, self._config.close_wait)
            if start is None or own >= start:
                outcomes.append(self._export_hour(project, own))
        if start is not None:
            for project in self._config.projects:
                missed = self._missed(project, own, start)
                outcomes.extend(self._export_missed(project, hour) for hour in missed)
        return outcomes

    def publish(self, hour: datetime) -> list[HourOutcome]:
        """Publish every hour that this run has staged, its own hour first, then oldest first.

        If the own hour's staging is gone (another run had the hour meanwhile, a store's rule aborted the
        uploads), the hour is looked at again and, if need be, staged again; one that was published before and
        has not been checked as it is now is left to a later run. An hour whose gate does not let it pass, as
        it is staged now, is an outcome; `raise_for_stopped` makes it an error. Later calls leave out what
        earlier ones have found to be so, but for their own hour.
        """
        own = whole_hour(hour)
        start = self._start()
        todo = [self._id(project, own) for project in self._config.projects if start is None or own >= start]
        waiting = exported.staged_by(self._ledger, self._config.id, self._run.id)
        others = [id for id in waiting if id not in todo and id not in self._behind_gates]
        outcomes = []
        for id in [*todo, *others]:
            try:
                outcome = self._behind_gates.get(id) or self._publish_hour(id)
            except HourHeld as held:
                if id in todo:
                    raise
                log.warning("%s", held)
                outcome = HourOutcome(id.project, id.hour, "held", note=str(held))
            except (QualityNotChecked, QualityStopped) as stopped:
                log.error("%s", stopped)
                outcome = HourOutcome(id.project, id.hour, "stopped", note=str(stopped))
            if outcome.action in ("stopped", "waiting"):
                self._behind_gates[id] = outcome
            outcomes.append(outcome)
        return outcomes

    def _start(self) -> datetime | None:
        """Return the first hour of the schedule (decisions E-22); None in a run that is not scheduled."""
        if self._run.kind != "scheduled":
            return None
        config = self._config
        recorded = record_destination(self._ledger, config.id, config.as_json(), config.hash, config.start)
        return recorded.start

    def _missed(self, project: int, own: datetime, start: datetime) -> list[datetime]:
        """Return the hours before the own one that are not exported, by ledger and by listing."""
        candidates = catch_up(own, start, self._config.catch_up_hours, ())
        if not candidates:
            return []
        first, last = candidates[0], candidates[-1]
        records = exported.records(self._ledger, self._config.id, project, first, last)
        done = {hour for hour, record in records.items() if record.published}
        if self._config.marker:
            done &= self._marked(project, candidates)
        if self._config.reexport_changed:
            contents = hour_fingerprints(self._ledger, project, first, last)
            done = {hour for hour in done if _content_of(records[hour]) == _digest(contents.get(hour))}
        return catch_up(own, start, self._config.catch_up_hours, done)

    def _marked(self, project: int, hours: list[datetime]) -> set[datetime]:
        """Return the hours whose own marker is listed."""
        listed = self._bucket.objects(project, {hour.date() for hour in hours})
        return {
            item.names.hour
            for item in listed
            if item.key == self._layout.marker_key(project, item.names.hour)
        }

    def _export_missed(self, project: int, hour: datetime) -> HourOutcome:
        try:
            return self._export_hour(project, hour)
        except HourHeld as held:
            log.info("%s", held)
            return HourOutcome(project, hour, "held", note=str(held))
        except ForeignHour as foreign:
            log.warning("%s", foreign)
            return HourOutcome(project, hour, "foreign", note=str(foreign))

    def _export_hour(self, project: int, hour: datetime) -> HourOutcome:
        id = self._id(project, hour)
        # First without a claim: an hour that is fine costs a listing, and no one has to wait for it.
        settled = self._settled(id)
        if settled is not None:
            return settled
        claim = self._claim(id)
        if isinstance(claim, HourOutcome):
            return claim
        staged = self._stage(claim)
        if isinstance(staged, HourOutcome):
            exported.release(self._ledger, claim)
            return staged
        self._keeper.add(claim)
        return _outcome(id, "staged", staged)

    def _publish_hour(self, id: HourId) -> HourOutcome:
        before = exported.record(self._ledger, id)
        if not _is_staged_by(before, self._run.id):
            # Normally done by the export task; an hour that is still open must not be published.
            close_until(self._lake, self._ledger, id.project, id.hour + HOUR, self._config.close_wait)
            settled = self._settled(id)
            if settled is not None:
                return settled
            self._refuse_given_up(id)
        claim = self._claim(id)
        if isinstance(claim, HourOutcome):
            return claim
        staged = staged_hour(self._ledger, id, self._run.id)
        if staged is None and self._was_fine(id, before):
            exported.release(self._ledger, claim)
            return _left(id, before, _NOT_AS_IT_WAS)
        uploads = self._open_uploads(id)
        if staged is None or not self._all_there(staged, uploads):
            made = self._stage(claim)
            if isinstance(made, HourOutcome):
                self._forget(claim, staged)
                return made
            staged = made
        else:
            self._abort_others(uploads, staged.uploads)
        self._require_open(claim, staged)
        publish(self._bucket, self._ledger, claim, staged, self._lease)
        remove_sample(self._lake, staged.sample)
        outcome = _outcome(id, "published", staged)
        log.info(
            "Published the %s: %s events in %d files, %s bytes",
            id, f"{outcome.rows:,}", outcome.files, f"{outcome.bytes:,}",
        )  # fmt: skip
        return outcome

    def _claim(self, id: HourId) -> Claim | HourOutcome:
        """Claim an hour, unless the gate of another run holds it. Raises HourHeld."""
        # Once more under the claim: until then the other run may have been about to be held.
        for claims in (False, True):
            claim = exported.claim(self._ledger, id, self._run.id, self._lease) if claims else None
            gate = waiting_elsewhere(self._ledger, id, self._run.id)
            if gate is not None:
                if claim is not None:
                    exported.release(self._ledger, claim)
                log.info("The %s is passed by: %s", id, passing_by(gate))
                return HourOutcome(id.project, id.hour, "waiting", note=passing_by(gate))
        assert claim is not None
        return claim

    def _require_open(self, claim: Claim, staged: StagedHour) -> None:
        """See that the hour's gate lets it pass as it is staged. Raises QualityNotChecked, QualityStopped."""
        gate, content = gate_of(claim.id, self._run.id), content_text(staged)
        if not self._config.quality.enabled:
            known = quality.find(self._ledger, gate)
            # What was held before the gate was switched off stays so until a person decides.
            if known is None or known.content != content:
                return
        try:
            require_open(self._ledger, gate, content)
        except (QualityNotChecked, QualityStopped):
            # What holds the hour from here on is its gate; the claim would only be in the way of a discard.
            exported.release(self._ledger, claim)
            raise

    def _was_fine(self, id: HourId, before: HourRecord | None) -> bool:
        """Whether an hour was exported already when this run's gate looked: it has none here."""
        if before is None or not before.published or not self._config.quality.enabled:
            return False
        return quality.find(self._ledger, gate_of(id, self._run.id)) is None

    def _refuse_given_up(self, id: HourId) -> None:
        """Leave alone what this run has staged and a person, or time, has given up. Raises QualityStopped."""
        known = quality.find(self._ledger, gate_of(id, self._run.id))
        if known is not None and known.state in ("discarded", "expired"):
            raise QualityStopped(
                f"What this run had staged of the {id} was given up ({known.state}: {known.reason}). A later"
                " run or a backfill exports the hour; for this one to do it, clear its task export_events."
            )

    def _stage(self, claim: Claim) -> StagedHour | HourOutcome:
        """Stage a claimed hour, or keep what an earlier try of this run has staged, or find it settled."""
        id = claim.id
        mine = staged_hour(self._ledger, id, self._run.id)
        if mine is not None and self._still_good(id, mine) and not self._was_stopped(id):
            log.info("The %s is staged already by an earlier try of this run.", id)
            return mine
        self._abort_others(self._open_uploads(id), set())
        content, view, state = self._compare(id)
        settled = self._settle(id, content, view, state)
        if settled is not None:
            return settled
        log.info("Exporting the %s: %s, %s events", id, state.value, f"{content.fingerprint.rows:,}")
        self._keeper.start(claim)
        sample = self._sample(content)
        try:
            staged = self._stager.stage(id.project, id.hour, content, view, self._keeper.beat, sample)
        except Refused as refusal:
            raise HourHeld(
                f"Another writer holds the {id}: it has aborted this run's uploads ({refusal}). This run"
                " publishes nothing of it; let the other finish and run this one again."
            ) from refusal
        try:
            if sample is not None and staged.rows:
                path = write_sample(self._lake, self._config.id, staged.staging, sample.lines)
                staged = replace(staged, sample=path)
            exported.stage(self._ledger, claim, staged.to_json())
        except BaseException:
            self._stager.abandon(staged)
            remove_sample(self._lake, staged.sample)
            raise
        if mine is not None:
            remove_sample(self._lake, mine.sample)
        return staged

    def _sample(self, content: Content) -> LineSample | None:
        settings = self._config.quality
        if not settings.enabled or not settings.sample_rows:
            return None
        lines = content.fingerprint.rows if self._config.filter is None else None
        return LineSample(content, lines, settings.sample_rows)

    def _was_stopped(self, id: HourId) -> bool:
        """Whether this run's gate has stopped the hour: staged once more, it may be mended."""
        known = quality.find(self._ledger, gate_of(id, self._run.id))
        return known is not None and not known.is_open

    def _settled(self, id: HourId) -> HourOutcome | None:
        return self._settle(id, *self._compare(id))

    def _settle(self, id: HourId, content: Content, view: HourView, state: HourState) -> HourOutcome | None:
        """Return the outcome of an hour that this run does not write, or None if it does.

        Raises ForeignHour if the schedule finds a marker that the ledger does not know (decisions E-11).
        """
        if writes(state, self._run.kind, reexport_changed=self._config.reexport_changed):
            return None
        if state is HourState.FOREIGN:
            raise ForeignHour(
                f"The bucket {self._bucket.name} already has the {id}, by a writer that this ledger does not"
                f" know ({', '.join(sorted(view.markers))}): an earlier connection, a lost ledger or"
                " Amplitude's own export. The schedule does not touch it; to replace it, backfill the hour:"
                f" {backfill_command(self._config, HourRange(id.hour, id.hour))}"
            )
        record = exported.record(self._ledger, id)
        if state is HourState.UNCHANGED:
            return _as_recorded(id, record, "unchanged")
        note = f"{state.value} since it was exported; a backfill, or reexport_changed, exports it again"
        if state is HourState.OUTSIDE:
            note = "outside the lake's events: what is there may be another system's history, and stays"
        return _left(id, record, note)

    def _compare(self, id: HourId) -> tuple[Content, HourView, HourState]:
        content = content_of(self._ledger, id.project, id.hour)
        view = look(self._bucket, id.project, id.hour)
        wanted = Wanted(
            content=content.fingerprint,
            filter_hash=filter_hash(self._config),
            config_hash=config_hash(self._config),
            marker_key=self._layout.marker_key(id.project, id.hour) if self._config.marker else None,
        )
        record = exported.record(self._ledger, id)
        files = exported.published_files(self._ledger, id)
        state = hour_state(record, files, view, wanted)
        unknown = record is None or record.content_rows is None
        if (
            unknown
            and view.objects
            and not content.fingerprint.rows
            and self._run.kind != "scheduled"
            and id.hour in Outside(self._ledger, self._config.id, id.project)
        ):
            state = HourState.OUTSIDE
        return content, view, state

    def _still_good(self, id: HourId, staged: StagedHour) -> bool:
        """Whether a staging can be published as it is: same content, form, bucket and open uploads."""
        content = content_of(self._ledger, id.project, id.hour)
        view = look(self._bucket, id.project, id.hour)
        open_now = {upload.upload_id for upload in self._open_uploads(id)}
        return (
            staged.content.fingerprint == content.fingerprint
            and staged.config_hash == config_hash(self._config)
            and staged.filter_hash == filter_hash(self._config)
            and staged.seen == {item.key: item.etag for item in view.objects}
            and open_now == staged.uploads
        )

    def _all_there(self, staged: StagedHour, uploads: Iterable[OpenUpload]) -> bool:
        """Whether each upload of a staging is open still, or has become the object.

        Looked at before anything visible is touched: a store's rule may have aborted uploads that waited long
        for a person, and the hour that they were to replace must not be taken off for nothing.
        """
        open_now = {upload.upload_id for upload in uploads}
        waiting = {file.key: file.upload_id for file in staged.files}
        if staged.marker is not None and staged.marker.upload_id is not None:
            waiting[staged.marker.key] = staged.marker.upload_id
        for key, upload_id in waiting.items():
            if upload_id in open_now:
                continue
            head = self._bucket.head(key)
            if head is None or head.metadata.get(STAGING) != staged.staging:
                log.warning("The upload of %s is gone: what this run had staged is staged anew.", key)
                return False
        return True

    def _forget(self, claim: Claim, staged: StagedHour | None) -> None:
        """Give back an hour of which nothing has to be published, with what was staged of it once."""
        if staged is not None:
            exported.stage(self._ledger, claim, None)
            remove_sample(self._lake, staged.sample)
        exported.release(self._ledger, claim)

    def _abort_others(self, uploads: Iterable[OpenUpload], own: Collection[str]) -> None:
        """Abort the uploads of an hour that are not ours: their writer is dead, or has lost the hour."""
        for upload in uploads:
            if upload.upload_id not in own:
                log.info("Aborting an upload of %s that another writer left open", upload.key)
                self._bucket.abort(upload.key, upload.upload_id)

    def _open_uploads(self, id: HourId) -> list[OpenUpload]:
        found = self._bucket.open_uploads(id.project, [id.hour.date()])
        return [upload for upload in found if upload.names.hour == id.hour]

    def _id(self, project: int, hour: datetime) -> HourId:
        return HourId(self._config.id, project, hour)


def _left(id: HourId, record: HourRecord | None, note: str) -> HourOutcome:
    log.info("The %s is left as it is: %s", id, note)
    return _as_recorded(id, record, "left", note)


def _as_recorded(id: HourId, record: HourRecord | None, action: Action, note: str = "") -> HourOutcome:
    """Return the outcome of an hour that stays as the ledger has it."""
    outcome = HourOutcome(id.project, id.hour, action, note=note)
    if record is None:
        return outcome
    return replace(outcome, rows=record.rows or 0, bytes=record.bytes or 0, files=record.files or 0)


def _is_staged_by(record: HourRecord | None, run: str) -> bool:
    return record is not None and record.staged is not None and record.staged["run"] == run


def _content_of(record: HourRecord) -> tuple[int | None, str | None]:
    return record.content_rows, record.content_digest


def _digest(fingerprint: Fingerprint | None) -> tuple[int, str]:
    content = fingerprint or Fingerprint()
    return content.rows, content.digest


def _outcome(id: HourId, action: Action, staged: StagedHour) -> HourOutcome:
    return HourOutcome(id.project, id.hour, action, staged.rows, staged.bytes, len(staged.files))
