"""Where each destination stands, from the ledger alone: no bucket is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select

from sluice.config import Config, ExportConfig
from sluice.errors import SluiceError
from sluice.exports.held import waiting_hours
from sluice.exports.ranges import HOUR, HourRange, joined
from sluice.exports.repair import backfill_command
from sluice.ledger import Ledger
from sluice.ledger.export_runs import ExportRun, destinations_with_runs, runs_of
from sluice.ledger.registry import recorded_destinations
from sluice.ledger.tables import exported_hours, hours, projects
from sluice.ledger.verifications import Verification, last_verification

State = Literal["enabled", "disabled", "waiting for access", "failing", "retired"]


@dataclass(frozen=True)
class Todo:
    """Hours without a break, and the command that exports them, if the schedule does not."""

    hours: HourRange
    command: str = ""


@dataclass(frozen=True)
class ProjectStatus:
    """A project's hours at a destination, but for those that wait for a person at a quality gate.

    waiting: closed, not exported, and the next scheduled run looks at them; gaps: older than that; changed:
    exported, and the lake's hour has other content since (architecture, load protocol 4).
    """

    project: int
    newest_closed: datetime | None
    newest_exported: datetime | None
    waiting: tuple[Todo, ...]
    gaps: tuple[Todo, ...]
    changed: tuple[Todo, ...]


@dataclass(frozen=True)
class DestinationStatus:
    """A destination; `reason` says why it is waiting or failing, `runs` are its newest ones first."""

    destination: str
    state: State
    reason: str
    verification: tuple[datetime, Verification] | None
    projects: tuple[ProjectStatus, ...]
    runs: tuple[ExportRun, ...]


def status_of(
    config: Config, ledger: Ledger, destination: str | None = None, runs: int = 10
) -> Iterator[DestinationStatus]:
    """Yield the status of each destination, or of one; those whose YAML is gone come last, as retired.

    Raises SluiceError for a destination that is neither configured nor in the ledger.
    """
    configured = {export.id: export for export in config.exports}
    recorded = recorded_destinations(ledger)
    known = configured.keys() | recorded.keys() | destinations_with_runs(ledger)
    if destination is not None and destination not in known:
        raise SluiceError(
            f"There is no destination {destination}; known are: {', '.join(sorted(known)) or 'none'}."
        )
    order = [*configured, *sorted(known - configured.keys())]
    for id in [destination] if destination else order:
        newest = tuple(runs_of(ledger, id, max(runs, 1)))
        export = configured.get(id)
        state, reason = _state(export, newest)
        start = recorded[id].start if id in recorded else None
        yield DestinationStatus(
            destination=id,
            state=state,
            reason=reason,
            verification=last_verification(ledger, id),
            projects=tuple(_project(ledger, export, project, start) for project in export.projects)
            if export
            else (),
            runs=newest[:runs],
        )


def _state(export: ExportConfig | None, newest: tuple[ExportRun, ...]) -> tuple[State, str]:
    if export is None:
        return "retired", ""
    # A run that is trying again has not yet shown that the problem is gone.
    last = newest[0] if newest else None
    reason = (last.reason or "") if last and last.problem else ""
    if not export.enabled:
        return "disabled", reason
    if last is None or last.problem is None:
        return "enabled", ""
    return ("waiting for access" if last.problem == "access" else "failing"), reason


def _project(ledger: Ledger, export: ExportConfig, project: int, start: datetime | None) -> ProjectStatus:
    table = exported_hours.c
    with ledger.begin() as connection:
        closed_until = connection.execute(
            select(projects.c.closed_until).where(projects.c.project == project)
        ).scalar_one_or_none()
        published = {
            row.hour: (row.content_rows, row.content_digest)
            for row in connection.execute(
                select(table.hour, table.content_rows, table.content_digest).where(
                    table.destination == export.id,
                    table.project == project,
                    table.data_set == "events",
                    table.state == "published",
                )
            )
        }
        contents = {
            row.hour: (row.rows, row.digest)
            for row in connection.execute(
                select(hours.c.hour, hours.c.rows, hours.c.digest).where(hours.c.project == project)
            )
        }
    waiting: list[datetime] = []
    gaps: list[datetime] = []
    if closed_until is not None and start is not None:
        # The next run's own hour is the one after the newest closed.
        looks_back_to = closed_until - export.catch_up_hours * HOUR
        held = {id.hour for id in waiting_hours(ledger, export.id) if id.project == project}
        for hour in _unexported(start, closed_until, published.keys() | held):
            (waiting if export.enabled and hour >= looks_back_to else gaps).append(hour)
    changed = sorted(hour for hour, content in published.items() if _differs(content, contents.get(hour)))
    return ProjectStatus(
        project=project,
        newest_closed=closed_until - HOUR if closed_until else None,
        newest_exported=max(published, default=None),
        waiting=tuple(map(Todo, joined(waiting))),
        gaps=tuple(_with_command(export, gaps)),
        changed=tuple(_with_command(export, changed)),
    )


def _unexported(start: datetime, end: datetime, settled: Collection[datetime]) -> Iterator[datetime]:
    hour = start
    while hour < end:
        if hour not in settled:
            yield hour
        hour += HOUR


def _differs(exported: tuple[int | None, str | None], content: tuple[int, str] | None) -> bool:
    if content is None:
        return exported[0] != 0
    return exported != content


def _with_command(export: ExportConfig, found: Iterable[datetime]) -> Iterator[Todo]:
    for block in joined(found):
        yield Todo(block, backfill_command(export, block))
