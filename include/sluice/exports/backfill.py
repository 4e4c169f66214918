"""Plans a backfill: what each hour of a range is, what of it is to be exported, and what that will take.

Nothing is written and no event is read: the ledger and listings of the bucket, a month at a time, say it all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from sluice.config import ExportConfig
from sluice.errors import SluiceError
from sluice.exports.bucket import Bucket, StoredObject
from sluice.exports.errors import WindowError
from sluice.exports.form import config_hash, filter_hash, layout_of
from sluice.exports.held import passing_by, waiting_hours
from sluice.exports.history import Experience, experience
from sluice.exports.outside import Outside
from sluice.exports.plan import HOUR, SETTLED, HourState, Wanted, as_listed, hour_state, look
from sluice.exports.ranges import HourRange, joined
from sluice.exports.staging import contents_of
from sluice.lake import Fingerprint, Lake, close_until, closed_until
from sluice.lake.projection import catch_up
from sluice.ledger import Ledger, exported
from sluice.ledger.exported import HourId
from sluice.ledger.quality import Gate

# How many ranges of hours an error names.
_NAMED = 5


class HoursLeft(SluiceError):
    """A backfill has come to its end, and hours of its range are not as they should be."""


@dataclass(frozen=True, slots=True)
class HourPlan:
    """What one hour is: `events` in the lake now, `exported` when it was published (None if it never was)."""

    project: int
    hour: datetime
    state: HourState
    events: int
    exported: int | None = None
    published_at: datetime | None = None
    # Published before the moment from which a forced backfill counts.
    forced: bool = False
    # What holds it, if it is held by a quality gate.
    gate: Gate | None = None

    @property
    def writes(self) -> bool:
        """Whether the backfill exports the hour."""
        return self.forced or self.state not in SETTLED

    @property
    def what(self) -> str:
        """The state in words; a changed hour has more or fewer events, or others."""
        if self.state is not HourState.CHANGED or self.exported is None:
            return str(self.state.value)
        if self.events == self.exported:
            return "changed (other events)"
        return "changed (more events)" if self.events > self.exported else "changed (fewer events)"


@dataclass(frozen=True)
class PlanLine:
    """Hours of a project without a break that are the same, as a row of the plan's table."""

    project: int
    hours: HourRange
    what: str
    count: int
    events: int

    def as_json(self) -> dict[str, Any]:
        """Return the line as JSON types."""
        return {
            "project": self.project,
            "first": f"{self.hours.first:%Y-%m-%dT%H}",
            "last": f"{self.hours.last:%Y-%m-%dT%H}",
            "what": self.what,
            "hours": self.count,
            "events": self.events,
        }


@dataclass(frozen=True)
class BackfillPlan:
    """The plan of a range: each hour of each project, the sentences that go with it, and what it takes."""

    destination: str
    range: HourRange
    hours: tuple[HourPlan, ...]
    notes: tuple[str, ...]
    experience: Experience
    partition_bytes: int

    @property
    def todo(self) -> tuple[HourPlan, ...]:
        """The hours that the backfill exports."""
        return tuple(hour for hour in self.hours if hour.writes)

    @property
    def lines(self) -> Iterator[PlanLine]:
        """The hours as a table, those without a break that are the same in one row."""
        for (project, what), group in groupby(self.hours, lambda hour: (hour.project, _words(hour))):
            same = list(group)
            for span in joined(hour.hour for hour in same):
                of_span = [hour for hour in same if span.first <= hour.hour <= span.last]
                yield PlanLine(project, span, what, len(of_span), sum(hour.events for hour in of_span))

    def text(self, *, table: bool = True) -> Iterator[str]:
        """Yield the plan as lines for a log or a terminal: the table, the sentences, the sums."""
        for line in self.lines if table else ():
            yield (
                f"project {line.project}  {line.hours}: {line.what}, {line.count:,} hours,"
                f" {line.events:,} events"
            )
        yield from self.notes
        sums = self.totals()
        basis = f"from {sums['measured_hours']:,} exported hours" if sums["measured_hours"] else "assumed"
        yield (
            f"To export: {sums['hours']:,} of {len(self.hours):,} hours, {sums['events']:,} events; about"
            f" {sums['bytes'] / 1e6:,.1f} MB, {sums['requests']:,} requests, {sums['seconds']:,.0f} s of work"
            f" ({basis})."
        )

    def totals(self) -> dict[str, Any]:
        """Return the sums: hours by state, and what is to be exported with its estimates.

        `bytes` are compressed, `seconds` those of one hour after the other; both rest on the ledger's
        history of this destination if it has one.
        """
        todo = self.todo
        events = sum(hour.events for hour in todo)
        states = Counter(hour.what for hour in self.hours)
        return {
            "destination": self.destination,
            "first": f"{self.range.first:%Y-%m-%dT%H}",
            "last": f"{self.range.last:%Y-%m-%dT%H}",
            "states": dict(sorted(states.items())),
            "hours": len(todo),
            "events": events,
            "bytes": self.experience.bytes(events),
            "requests": sum(self._requests(hour) for hour in todo),
            "seconds": round(self.experience.seconds(len(todo), events), 1),
            "measured_hours": self.experience.hours,
            "notes": list(self.notes),
        }

    def _requests(self, hour: HourPlan) -> int:
        """Return about how many requests an hour takes: each object is opened, sent and completed."""
        objects = self.experience.files(hour.events, self.partition_bytes) + 1
        # An old marker is looked at twice and deleted; other leftovers are not counted.
        return 3 * objects + (0 if hour.state is HourState.MISSING else 3)


def _words(hour: HourPlan) -> str:
    return f"{hour.what}, forced" if hour.forced and hour.state in SETTLED else hour.what


def require_data_sets(config: ExportConfig, data_sets: Iterable[str]) -> None:
    """Raise SluiceError for a data set that the destination does not export."""
    for name in data_sets:
        if name not in config.data_sets:
            raise SluiceError(
                f"The destination {config.id} does not export {name!r}; its `data_sets` are"
                f" {', '.join(config.data_sets)}."
            )


def raise_for_left(config: ExportConfig, plan: BackfillPlan, since: datetime, run: str = "") -> None:
    """Raise HoursLeft if a backfill that began at `since` has left hours of its range undone.

    An hour that was exported and to which events were added while the backfill ran is not left undone; one
    that the gate of another run than `run` holds is that run's.
    """
    held = [hour for hour in plan.hours if hour.gate is not None and hour.gate.run == run]
    if held:
        first = held[0]
        assert first.gate is not None
        raise HoursLeft(
            f"{len(held):,} hours are held by their quality gates and not exported to {config.id}:"
            f" {_named([hour.hour for hour in held])}. `sluice quality show {run}` says why; release or"
            " discard them, then clear the failed export_chunk tasks: the other hours are done."
        )
    left = sorted({hour.hour for hour in plan.todo if not _changed_again(hour, since)})
    if not left:
        return
    raise HoursLeft(
        f"{len(left):,} hours are still to be exported to {config.id}: {_named(left)}. The logs of the failed"
        " export_chunk tasks say why; clear these tasks, or start the backfill again: it goes on where it"
        " was."
    )


def _named(hours: Iterable[datetime]) -> str:
    ranges = list(joined(hours))
    return "; ".join(str(one) for one in ranges[:_NAMED]) + ("; …" if len(ranges) > _NAMED else "")


def _changed_again(hour: HourPlan, since: datetime) -> bool:
    done = hour.published_at is not None and hour.published_at >= since
    return done and hour.state is HourState.CHANGED


class BackfillPlanner:
    """Plans backfills of one destination. Raises BucketAccessError if the bucket cannot be listed."""

    def __init__(self, config: ExportConfig, *, lake: Lake, ledger: Ledger, bucket: Bucket) -> None:
        self._config = config
        self._lake = lake
        self._ledger = ledger
        self._bucket = bucket
        self._layout = layout_of(config)
        self._filter_hash = filter_hash(config)
        self._config_hash = config_hash(config)

    def plan(
        self,
        hours: HourRange,
        *,
        forced_before: datetime | None = None,
        close: bool = False,
        run: str | None = None,
    ) -> BackfillPlan:
        """Plan a range of hours, both ends inclusive.

        `close` first closes it in the lake, once for all its hours; otherwise nothing is written anywhere.
        With `forced_before`, hours that were published before that moment are exported again. Hours that
        quality gates hold are left alone, but for those that they hold for `run`.

        Raises WindowError if the whole range lies in the future.
        """
        over_until, notes = self._over_until(hours)
        if close:
            for project in self._config.projects:
                close_until(self._lake, self._ledger, project, over_until, self._config.close_wait)
        else:
            catch_up(self._lake, self._ledger, self._lake.events())
        plans: list[HourPlan] = []
        for project in self._config.projects:
            notes += self._project_notes(project, hours, over_until)
            plans += self.hour_plans(project, hours, over_until, forced_before, run)
        notes += _held_notes(plans)
        return BackfillPlan(
            destination=self._config.id,
            range=hours,
            hours=tuple(plans),
            notes=tuple(notes),
            experience=experience(self._ledger, self._config.id),
            partition_bytes=self._config.partition_bytes,
        )

    def hour_plans(
        self,
        project: int,
        hours: HourRange,
        over_until: datetime,
        forced_before: datetime | None = None,
        run: str | None = None,
    ) -> Iterator[HourPlan]:
        """Yield what each hour is, oldest first; hours that end after `over_until` are not closed.

        Hours that quality gates hold are left alone, but for those that hold them for `run`.
        """
        waiting = waiting_hours(self._ledger, self._config.id)
        for plan in self._unheld(project, hours, over_until, forced_before):
            gate = waiting.get(HourId(self._config.id, project, plan.hour))
            if gate is not None and gate.run != run and plan.writes:
                yield replace(plan, state=HourState.HELD, forced=False, gate=gate)
            else:
                yield plan

    def _unheld(
        self, project: int, hours: HourRange, over_until: datetime, forced_before: datetime | None
    ) -> Iterator[HourPlan]:
        outside = Outside(self._ledger, self._config.id, project)
        for _, month in groupby(hours, lambda hour: (hour.year, hour.month)):
            of_month = list(month)
            first, last = of_month[0], of_month[-1]
            contents, _ = contents_of(self._ledger, project, first, last)
            records = exported.records(self._ledger, self._config.id, project, first, last)
            files = exported.published_files_between(self._ledger, self._config.id, project, first, last)
            listed: dict[datetime, list[StoredObject]] = {}
            for item in self._bucket.objects(project, {hour.date() for hour in of_month}):
                listed.setdefault(item.names.hour, []).append(item)
            for hour in of_month:
                content, record = contents.get(hour, Fingerprint()), records.get(hour)
                known = record.content_rows if record is not None else None
                if hour + HOUR > over_until:
                    yield HourPlan(project, hour, HourState.NOT_CLOSED, content.rows, known)
                    continue
                if not content.rows and known is None and hour in outside:
                    yield HourPlan(project, hour, HourState.OUTSIDE, 0)
                    continue
                view = as_listed(record, listed.get(hour, ())) or look(self._bucket, project, hour)
                state = hour_state(record, files.get(hour, ()), view, self.wanted(project, hour, content))
                if state is HourState.BROKEN and record is None:
                    # A schedule takes it for a broken run (E-11); a person should know that it was not ours.
                    state = HourState.FOREIGN
                published_at = record.published_at if record is not None else None
                forced = is_forced(published_at, forced_before)
                yield HourPlan(project, hour, state, content.rows, known, published_at, forced)

    def wanted(self, project: int, hour: datetime, content: Fingerprint) -> Wanted:
        """Return what an hour with this content should be at the destination."""
        return Wanted(
            content=content,
            filter_hash=self._filter_hash,
            config_hash=self._config_hash,
            marker_key=self._layout.marker_key(project, hour) if self._config.marker else None,
        )

    def _over_until(self, hours: HourRange) -> tuple[datetime, list[str]]:
        """Return the end of the range's last hour that is over, and what is to be said of later ones."""
        now = self._ledger.now()
        end = hours.last + HOUR
        current = now.replace(minute=0, second=0, microsecond=0)
        if hours.first + HOUR > now:
            raise WindowError(
                f"The range {hours} lies in the future: the ledger's clock says {now:%Y-%m-%d %H:%M:%S} UTC,"
                f" so the last hour that can be exported is {current - HOUR:%Y-%m-%dT%H}."
            )
        if end <= now:
            return end, []
        later = (end - current) // HOUR
        return current, [
            f"{later:,} hours from {current:%Y-%m-%d %H}:00 UTC on are not over and left out; the schedule"
            " exports them when they are."
        ]

    def _project_notes(self, project: int, hours: HourRange, over_until: datetime) -> list[str]:
        notes = []
        closed = closed_until(self._ledger, project)
        open_from = max(closed, hours.first) if closed else hours.first
        if open_from < over_until:
            count = (over_until - open_from) // HOUR
            notes.append(
                f"{count:,} hours of project {project} are over and not closed yet: the backfill closes them"
                " first, and loads that are under way go into the open hour."
            )
        bounds = Outside(self._ledger, self._config.id, project).bounds
        if bounds is None:
            notes.append(f"The lake has no events of project {project}.")
        elif hours.first < bounds.first:
            before = (min(bounds.first, hours.last + HOUR) - hours.first) // HOUR
            notes.append(
                f"The lake's first event of project {project} is of {bounds.first:%Y-%m-%d %H}:00 UTC:"
                f" {before:,} hours before it have nothing to export."
            )
        return notes


def _held_notes(plans: Iterable[HourPlan]) -> Iterator[str]:
    """Say of each run whose gates hold hours what a person can do."""
    held: dict[str, list[HourPlan]] = {}
    for plan in plans:
        if plan.gate is not None:
            held.setdefault(plan.gate.run, []).append(plan)
    for hours in held.values():
        gate = hours[0].gate
        assert gate is not None
        more = f", and so for {len(hours) - 1:,} more of that run" if len(hours) > 1 else ""
        yield (
            f"Passed by: {hours[0].hour:%Y-%m-%dT%H} of project {hours[0].project}, because"
            f" {passing_by(gate)}{more}."
        )


def is_forced(published_at: datetime | None, forced_before: datetime | None) -> bool:
    """Whether a forced backfill exports an hour whatever its state: published, and not by itself."""
    return forced_before is not None and published_at is not None and published_at < forced_before
