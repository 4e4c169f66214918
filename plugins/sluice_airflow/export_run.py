"""What the tasks of an export share: which hours a run is for, and the exporter that does them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sluice_airflow.dag_run import run_id, run_type
from sluice_airflow.hooks.sluice import SluiceHook

if TYPE_CHECKING:
    from sluice.exports.hour import Exporter, HourOutcome

HOUR = timedelta(hours=1)

# Whatever is neither of these was started on purpose, and says itself which hours it wants.
_KINDS = {"scheduled": "scheduled", "backfill": "backfill"}


def hours_of(context: Mapping[str, Any]) -> list[datetime]:
    """Return the hours that a run exports: those of its data interval, or of the params `from` and `to`.

    A manual run's params win over the interval that Airflow makes up for it; both ends are inclusive, and a
    date is the whole day (decisions E-12). Raises WindowError or AirflowFailException for what is no whole
    hours.
    """
    asked = context.get("params") or {}
    if _kind(context) == "manual" and asked.get("from"):
        from sluice.exports.ranges import parse_range

        return list(parse_range(asked["from"], asked.get("to")))
    if context.get("data_interval_start") is not None:
        first, end = context["data_interval_start"], context["data_interval_end"]
    else:
        raise AirflowFailException(
            "This run has no data interval, so it does not say which hour to export: trigger it with the"
            ' params `from` and `to` (hours or dates, UTC, both inclusive), for example {"from":'
            ' "2013-01-02T12", "to": "2013-01-02T14"}, or use a backfill.'
        )
    # Airflow gives pendulum's times, whose differences do not divide by a timedelta.
    first, end = (datetime.fromtimestamp(moment.timestamp(), UTC) for moment in (first, end))
    if first >= end or _within_an_hour(first) or _within_an_hour(end):
        raise AirflowFailException(
            f"Exports go by whole hours of UTC, and {first:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} is"
            " not one or more of them: check `from` and `to`, and that the DAG's timetable is hourly."
        )
    return [first + n * HOUR for n in range((end - first) // HOUR)]


def exporter_of(context: Mapping[str, Any], destination: str) -> Exporter:
    """Build the exporter of a destination that works as this run.

    Raises AirflowSkipException in a scheduled run of a destination that is switched off.
    """
    from sluice.exports.bucket import Bucket
    from sluice.exports.hour import Exporter, Run

    hook = SluiceHook()
    config = hook.config.export(destination)
    kind: Any = _kind(context)
    if kind == "scheduled" and not config.enabled:
        raise AirflowSkipException(
            f"The destination {destination} is switched off (enabled: false in {config.source_file});"
            " backfills and manual runs work on."
        )
    client = hook.store(config.connection, config.region).client()
    return Exporter(
        config,
        lake=hook.lake,
        ledger=hook.ledger,
        bucket=Bucket.of(client, config),
        run=Run(run_id(context), kind),
    )


@contextmanager
def recorded(
    context: Mapping[str, Any], destination: str, hours: Sequence[datetime], kind: str | None = None
) -> Iterator[None]:
    """Record in the ledger that the run works on these hours, and if it fails, why.

    `kind` is why it runs, if the DAG run's type does not say so.
    """
    from sluice.ledger.export_runs import start_run

    start_run(SluiceHook().ledger, destination, run_id(context), kind or _kind(context), hours[0], hours[-1])
    with failure_recorded(context, destination):
        yield


@contextmanager
def failure_recorded(context: Mapping[str, Any], destination: str) -> Iterator[None]:
    """Record in the ledger why the run failed, if it does."""
    try:
        yield
    except Exception as error:
        record_failure(context, destination, error)
        raise


def record_failure(context: Mapping[str, Any], destination: str, error: Exception) -> None:
    """Record in the ledger why the run failed."""
    from sluice.access.errors import BucketAccessError
    from sluice.ledger.export_runs import fail_run

    problem: Any = "access" if isinstance(error, BucketAccessError) else "other"
    # The failure itself is what has to be seen, even if the ledger does not answer any more.
    with suppress(Exception):
        fail_run(
            SluiceHook().ledger, destination, run_id(context), f"{type(error).__name__}: {error}", problem
        )


def finish(context: Mapping[str, Any], destination: str, outcomes: Iterable[HourOutcome]) -> None:
    """Record in the ledger that a run has come to its end, and what it left undone."""
    from sluice.ledger.export_runs import finish_run

    notes = [f"{outcome.hour:%Y-%m-%d %H}:00: {outcome.note}" for outcome in outcomes if outcome.note]
    finish_run(SluiceHook().ledger, destination, run_id(context), "; ".join(notes) or None)


def summary(outcomes: Iterable[HourOutcome]) -> dict[str, int]:
    """Count what became of a run's hours: small enough for an XCom, plain enough to read there.

    `rows`, `bytes` (compressed) and `files` are those that the run wrote or will publish.
    """
    outcomes = list(outcomes)
    written = [outcome for outcome in outcomes if outcome.action in ("staged", "published")]
    return {
        "hours": len(written),
        "rows": sum(outcome.rows for outcome in written),
        "bytes": sum(outcome.bytes for outcome in written),
        "files": sum(outcome.files for outcome in written),
        **{
            action: sum(outcome.action == action for outcome in outcomes)
            for action in ("unchanged", "left", "held", "foreign", "stopped", "waiting")
        },
    }


def _kind(context: Mapping[str, Any]) -> str:
    return _KINDS.get(run_type(context), "manual")


def _within_an_hour(moment: datetime) -> bool:
    return bool(moment.minute or moment.second or moment.microsecond)
