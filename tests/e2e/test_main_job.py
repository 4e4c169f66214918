"""The main job under a running scheduler: the demo, smaller."""

from __future__ import annotations

import pytest

from sluice.demo.airflow_api import AirflowApi
from sluice.demo.cohort_proof import Flow
from sluice.demo.flights import monthly_files, some_flights
from sluice.demo.notified import DAG, Notified, write_config
from sluice.demo.run import demonstrate
from sluice.local.stack import LocalStack


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_month_of_flights_goes_through_import_lake_export_and_cohort_sync(tmp_path):
    """Import two months, backfill three hours, reprocess them, sync two hours."""
    config = write_config(tmp_path / "config")
    with LocalStack(tmp_path / "stack", ui_port=18080, config_dir=config) as stack:
        done = demonstrate(stack, print, months=[1, 2], hours=3, cohort_hours=2)
        no_notified_file_is_lost(Notified(stack, AirflowApi(stack.airflow_url)))
    assert done.note == "2 files, 51,955 rows: 51,955 loaded, 0 duplicate, 0 ignored, 0 rejected."
    assert done.proof.problems == []
    assert done.written_again == []
    assert done.tasks == 9
    assert done.notified.rows == done.notified.expected
    assert [hour.lines for hour in done.proof.hours] == [50, 42, 27]
    assert done.stopped.problems == []
    assert (done.stopped.gate.state, done.stopped.repaired) == ("held", 500)
    assert "expect_column_values_to_match_regex" in done.stopped.shown
    assert {of.of: of.rows for of in done.gates} == {
        "cohort busy_ads": 74,
        "cohort delayed_crm": 65,
        "export flights": 119,
        "import flights": 51_955,
        "import flights_notified": 1_500,
    }
    assert done.cohorts.problems == []
    assert list(done.cohorts.files.flows.values()) == [Flow(33, 33, 0), Flow(32, 0, 1)]
    assert list(done.cohorts.messages.flows.values()) == [Flow(37, 37, 0), Flow(37, 5, 5)]


def no_notified_file_is_lost(source: Notified) -> None:
    """Airflow drops asset events of a paused DAG, and some of those that come while a run is active."""
    files = [some_flights(monthly_files([2])["flights-2013-02.csv.gz"], n, n + 5) for n in range(0, 20, 5)]
    source.wait_idle()
    source.seconds_to_start(source.put(2, files[0]))
    for number in (3, 4):
        source.put(number, files[number - 2])
        source.wait(lambda: source.taken_messages() or None, "the trigger took no message", 60)
    assert [source.wait_loaded(number) for number in (2, 3, 4)] == [5, 5, 5]

    source.wait_idle()
    source.api.pause(DAG)
    source.put(5, files[3])
    source.wait(lambda: source.taken_messages() or None, "the trigger took no message", 60)
    source.api.unpause(DAG)
    assert source.wait_loaded(5) == 5
