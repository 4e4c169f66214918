"""The main job under a running scheduler: the demo, smaller."""

from __future__ import annotations

import pytest

from sluice.demo.run import demonstrate
from sluice.local.stack import LocalStack


@pytest.mark.e2e
@pytest.mark.timeout(480)
def test_a_month_of_flights_goes_through_import_lake_and_export(tmp_path):
    """Import two months, backfill six hours, the last of them empty, and reprocess them."""
    with LocalStack(tmp_path / "stack", ui_port=18080) as stack:
        done = demonstrate(stack, print, months=[1, 2], hours=6)
    assert done.proof.problems == []
    assert done.written_again == []
    assert done.tasks == 12
    assert [hour.lines for hour in done.proof.hours] == [50, 42, 27, 11, 3, 0]
