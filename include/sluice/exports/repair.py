"""The command that exports hours again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sluice.config import ExportConfig
from sluice.exports.ranges import HourRange, joined

if TYPE_CHECKING:
    from sluice.exports.verification import HourReport


def backfill_command(config: ExportConfig, hours: HourRange, *, force: bool = False) -> str:
    """Return the command that backfills a destination's hours (decisions E-12).

    With `force` it exports them although ledger and bucket agree on them.
    """
    params = {
        "destination": config.id,
        "first": f"{hours.first:%Y-%m-%dT%H}",
        "last": f"{hours.last:%Y-%m-%dT%H}",
    }
    conf = json.dumps(params | ({"force": True} if force else {}))
    return f"airflow dags trigger export_backfill --conf '{conf}'"


def repair_commands(config: ExportConfig, differing: Iterable[HourReport]) -> Iterator[str]:
    """Yield what to do about hours that a verification found different, those that are closed."""
    found = [report for report in differing if report.closed]
    for force in (False, True):
        hours = sorted({report.hour for report in found if report.as_recorded is force})
        for block in joined(hours):
            yield f"To repair {block}: {backfill_command(config, block, force=force)}"
