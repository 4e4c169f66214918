"""When the DAG of an import source runs: by the clock, or when S3 has told its queue of a file."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, DeltaTriggerTimetable

from sluice.config import ImportConfig


def import_schedule(source: ImportConfig) -> timedelta | AssetOrTimeSchedule | None:
    """Return the schedule of a source's DAG; None if the source is disabled or scans by hand only.

    With notifications, any message of the queue starts a run, and the clock starts the sweeps behind them.
    """
    if not source.enabled:
        return None
    if source.discovery == "notifications":
        return AssetOrTimeSchedule(
            timetable=DeltaTriggerTimetable(timedelta(minutes=source.sweep_every)), assets=[_inbox(source)]
        )
    return timedelta(minutes=source.scan_every) if source.scan_every else None


def _inbox(source: ImportConfig) -> Asset:
    """Return the asset that stands for the source's queue, watched by the triggerer.

    The trigger is a bell, no more (ADR 11): it takes one message at a time and deletes none, so that the run
    finds everything in the queue, and what no run has dealt with rings again after half a minute.
    """
    # Only where it is needed: the provider costs a quarter of a second in each parse.
    from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger

    trigger = MessageQueueTrigger(
        scheme="sqs",
        sqs_queue=source.queue,
        aws_conn_id=source.connection,
        region_name=source.region,
        max_messages=1,
        # The longest wait that SQS offers: a message arrives at once, an idle queue costs 4,000 calls a day.
        wait_time_seconds=20,
        waiter_delay=1,
        visibility_timeout=30,
        delete_message_on_reception=False,
    )
    return Asset(name=f"{source.dag_id}__inbox", watchers=[AssetWatcher(name="queue", trigger=trigger)])
