"""The command that exports hours again."""

from __future__ import annotations

from datetime import datetime

from sluice.config import ExportConfig


def backfill_command(config: ExportConfig, first: datetime, last: datetime) -> str:
    """Return the command that backfills a destination's hours, both inclusive (decisions E-12)."""
    return (
        f"airflow backfill create --dag-id {config.dag_id}"
        f" --from-date {first:%Y-%m-%dT%H:%M:%SZ} --to-date {last:%Y-%m-%dT%H:%M:%SZ}"
        " --reprocess-behavior completed"
    )
