"""The command that exports hours again."""

from __future__ import annotations

from sluice.config import ExportConfig
from sluice.exports.ranges import HourRange


def backfill_command(config: ExportConfig, hours: HourRange) -> str:
    """Return the command that backfills a destination's hours (decisions E-12)."""
    return (
        f"airflow backfill create --dag-id {config.dag_id}"
        f" --from-date {hours.first:%Y-%m-%dT%H:%M:%SZ} --to-date {hours.last:%Y-%m-%dT%H:%M:%SZ}"
        " --reprocess-behavior completed"
    )
