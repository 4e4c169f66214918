"""As of when a run syncs, and how long it may: by the clock, by hand, and when it began late."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pendulum
import pytest

from sluice_airflow.sync_run import as_of, seconds_left

START = pendulum.datetime(2013, 1, 2, 9)
END = pendulum.datetime(2013, 1, 2, 10)
ASKED = datetime(2026, 11, 21, 12, 34, 56, tzinfo=UTC)


def context(run_type, **run):
    run = SimpleNamespace(dag_id="d", run_id="r", run_type=run_type, run_after=ASKED, **run)
    return {"dag_run": run, "data_interval_start": START, "data_interval_end": END}


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_run_of_the_clock_syncs_as_of_the_end_of_its_interval(run_type):
    found = as_of(context(run_type))
    assert found == datetime(2013, 1, 2, 10, tzinfo=UTC)
    assert type(found) is datetime


@pytest.mark.parametrize("run_type", ["manual", "asset_triggered", SimpleNamespace(value="manual")])
def test_a_run_by_hand_syncs_as_of_when_it_was_asked_for_whatever_its_interval(run_type):
    assert as_of(context(run_type)) == ASKED


def test_a_run_without_an_interval_has_a_time():
    assert as_of({"dag_run": context("manual")["dag_run"]}) == ASKED


@pytest.mark.parametrize(("ago", "least", "most"), [(0, 55, 57), (30, 25, 27), (50, 10, 10), (500, 10, 10)])
def test_a_real_time_run_sends_to_the_end_of_its_minute_and_a_little_if_that_is_over(ago, least, most):
    now = datetime.now(UTC)
    # A run of the past, and one that began late, have the minute from their start on.
    found = seconds_left(context("scheduled", start_date=now - timedelta(seconds=ago)))
    assert least - 2 < found <= most
