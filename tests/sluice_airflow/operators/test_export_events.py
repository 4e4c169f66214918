"""ExportEventsOperator: which hours a run is for, and what it stages on a real store from a real lake."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from checked_exports import check
from lake_staging import stage

from sluice.access.errors import BucketAccessError, BucketUnavailable
from sluice.disk import DiskFull
from sluice.errors import SluiceError
from sluice.exports import errors
from sluice.exports.errors import WindowError
from sluice.exports.hour import HourOutcome
from sluice.lake import HourNotOver, LoadRequest, load
from sluice.ledger.exported import HourHeld
from sluice_airflow.export_run import hours_of, summary
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.operators.export_events import ExportEventsOperator
from sluice_airflow.operators.publish_hour import PublishHourOperator
from sluice_airflow.retries import DELIVERY_RETRIES

NOON = datetime(2013, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def run_context(kind="backfill", start=NOON, end=None, run_id="run-1", **params):
    context = {
        "dag_run": SimpleNamespace(dag_id="export_hourly__flights", run_id=run_id, run_type=kind),
        "params": {"from": None, "to": None} | params,
    }
    if start is not None:
        context |= {"data_interval_start": start, "data_interval_end": end or start + HOUR}
    return context


class TestHours:
    def test_the_data_interval_is_the_hour(self):
        for kind in ("scheduled", "backfill", "manual"):
            assert hours_of(run_context(kind)) == [NOON]

    def test_an_interval_of_several_hours_is_all_of_them(self):
        assert hours_of(run_context(end=NOON + 3 * HOUR)) == [NOON, NOON + HOUR, NOON + 2 * HOUR]

    @pytest.mark.parametrize(
        ("params", "hours"),
        [
            pytest.param({"from": "2013-01-01T05"}, ["2013-01-01T05"], id="one-hour"),
            pytest.param(
                {"from": "2013-01-01T22", "to": "2013-01-02T00:00:00Z"},
                ["2013-01-01T22", "2013-01-01T23", "2013-01-02T00"],
                id="both-inclusive",
            ),
            pytest.param(
                {"from": "2013-01-01"}, [f"2013-01-01T{n:02}" for n in range(24)], id="a-date-is-a-day"
            ),
            pytest.param({"from": "2013-01-01T05:00+02:00"}, ["2013-01-01T03"], id="another-zone"),
        ],
    )
    def test_a_manual_run_may_say_its_hours(self, params, hours):
        for start in (NOON, None):
            found = hours_of(run_context("manual", start, **params))
            assert [hour.strftime("%Y-%m-%dT%H") for hour in found] == hours

    def test_params_do_not_move_a_backfill(self):
        assert hours_of(run_context("backfill", **{"from": "2012-01-01T00"})) == [NOON]

    def test_a_run_without_an_interval_says_what_to_pass(self):
        with pytest.raises(AirflowFailException, match=r"no data interval.*`from` and `to`"):
            hours_of(run_context("manual", None))

    def test_a_range_that_cannot_be_meant_is_refused(self):
        with pytest.raises(WindowError, match="ends before it begins"):
            hours_of(run_context("manual", **{"from": "2013-01-02T12", "to": "2013-01-01"}))

    def test_an_empty_interval_is_refused(self):
        with pytest.raises(AirflowFailException, match="whole hours"):
            hours_of(run_context(end=NOON))


def test_the_summary_counts_what_is_written_apart_from_what_is_there():
    outcomes = [
        HourOutcome(1, NOON, "published", 3, 100, 1),
        HourOutcome(1, NOON + HOUR, "published"),
        HourOutcome(2, NOON, "unchanged", 9, 900, 9),
        HourOutcome(2, NOON, "held"),
    ]
    assert summary(outcomes) == {
        "hours": 2,
        "rows": 3,
        "bytes": 100,
        "files": 1,
        "unchanged": 1,
        "left": 0,
        "held": 1,
        "foreign": 0,
        "stopped": 0,
        "waiting": 0,
    }


@pytest.fixture
def configure(tmp_path, bucket, monkeypatch, airflow_connections):
    """Write a configuration with one destination; call it again to change keys of it."""
    folder = tmp_path / "config"
    destination = {
        "id": "flights",
        "name": "Flights",
        "owner": "data@example.com",
        "projects": [187520],
        "bucket": bucket,
        "start": "2013-01-02T12:00:00Z",
        "close_wait": 0,
    }

    def write(**changes):
        destination.update(changes)
        organisation = {"id": 1, "name": "One", "administrators": ["data@example.com"]}
        for name, content in {
            "projects.yaml": {
                "organisations": [organisation],
                "projects": [{"id": 187520, "name": "Flights", "organisation": 1}],
            },
            "lake.yaml": {"uri": str(tmp_path / "lake")},
            "exports/flights.yaml": destination,
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(yaml.safe_dump(content))

    write()
    monkeypatch.setenv("SLUICE_CONFIG", str(folder))
    hook = SluiceHook()
    file = stage(hook.lake, "events.csv", ["a", "b", "c"])
    load(hook.lake, hook.ledger, LoadRequest(187520, "test", [file], upload_time="event_time"))
    return write


def execute(operator, context):
    task = operator(task_id="task", destination="{{ params.destination or 'flights' }}")
    context["params"].setdefault("destination", None)
    task.render_template_fields(context)
    return task.execute(context)


def keys(s3, bucket):
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_it_stages_without_anything_to_be_seen(configure, s3, bucket):
    result = execute(ExportEventsOperator, run_context())
    assert (result["hours"], result["rows"], result["files"], result["unchanged"]) == (1, 3, 1, 0)
    assert result["bytes"] > 0
    assert keys(s3, bucket) == []
    uploads = [item["Key"] for item in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]]
    assert sorted(uploads) == [
        "187520/187520_2013-01-02_12#0.json.gz",
        "187520/187520_2013-01-02_12_complete",
    ]


def test_an_hour_that_is_there_is_not_staged_again(configure, s3, bucket):
    execute(ExportEventsOperator, run_context())
    check(run_context())
    execute(PublishHourOperator, run_context())
    before = s3.list_objects_v2(Bucket=bucket)["Contents"]
    # Airflow reprocesses a run in place: the same run id, another run type.
    for context in (run_context(), run_context("manual", run_id="run-2"), run_context("scheduled")):
        result = execute(ExportEventsOperator, context)
        assert result == {
            "hours": 0,
            "rows": 0,
            "bytes": 0,
            "files": 0,
            "unchanged": 1,
            "left": 0,
            "held": 0,
            "foreign": 0,
            "stopped": 0,
            "waiting": 0,
        }
    assert s3.list_objects_v2(Bucket=bucket)["Contents"] == before
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_a_scheduled_run_takes_missed_hours_along(configure):
    result = execute(ExportEventsOperator, run_context("scheduled", NOON + 2 * HOUR))
    assert (result["hours"], result["rows"]) == (3, 3)


def test_a_destination_that_is_switched_off_skips_the_schedule_only(configure):
    configure(enabled=False)
    with pytest.raises(AirflowSkipException, match=r"exports/flights\.yaml"):
        execute(ExportEventsOperator, run_context("scheduled"))
    assert execute(ExportEventsOperator, run_context("backfill"))["rows"] == 3


def test_a_destination_that_is_switched_on_again_takes_up_what_it_missed(configure):
    """Decisions E-14: within a day there is no gap; the hours are exported oldest first."""
    configure(enabled=False)
    for n in range(3):
        with pytest.raises(AirflowSkipException):
            execute(ExportEventsOperator, run_context("scheduled", NOON + n * HOUR, run_id=f"off-{n}"))
    configure(enabled=True)
    context = run_context("scheduled", NOON + 3 * HOUR, run_id="on")
    assert execute(ExportEventsOperator, context)["hours"] == 4
    check(context)
    execute(PublishHourOperator, context)
    again = execute(ExportEventsOperator, run_context("scheduled", NOON + 4 * HOUR, run_id="next"))
    assert again["hours"] == 1


def test_an_unknown_destination_is_named(configure):
    context = run_context()
    context["params"]["destination"] = "trains"
    with pytest.raises(SluiceError, match="trains"):
        execute(ExportEventsOperator, context)


def test_a_missing_bucket_is_named(configure):
    configure(bucket="never-made-bucket")
    with pytest.raises(BucketAccessError, match="never-made-bucket does not exist"):
        execute(ExportEventsOperator, run_context())


def test_the_retries_of_the_dag_tell_the_errors_apart():
    """What may pass by itself is tried again; what a person has to change fails at once; each says why."""
    decide = {}
    for error in (
        BucketAccessError, BucketUnavailable, DiskFull, HourHeld, HourNotOver,
        errors.ForeignHour, errors.LakeSchemaError, errors.LakeRowError, errors.LakeFileError,
        errors.ExportDiffers, OSError,
    ):  # fmt: skip
        decision = DELIVERY_RETRIES["retry_policy"].evaluate(error("x"), 1, 3)
        decide[error] = (decision.action.value, decision.reason)
    assert [action for action, _ in decide.values()] == ["retry"] * 5 + ["fail"] * 5 + ["default"]
    own = [reason for error, (_, reason) in decide.items() if error in (
        BucketAccessError, BucketUnavailable, DiskFull, errors.LakeSchemaError,
        errors.LakeRowError, errors.LakeFileError,
    )]  # fmt: skip
    assert len(set(own)) == len(own)


def test_every_task_of_an_export_is_tried_again_with_growing_pauses():
    from airflow.dag_processing.dagbag import DagBag

    dags = Path(__file__).parents[3] / "dags"
    for file in ("export_hourly", "export_backfill", "verify_export"):
        bag = DagBag(dag_folder=dags / f"{file}.py", bundle_path=dags, bundle_name="dags-folder")
        (dag,) = bag.dags.values()
        for task in dag.tasks:
            retries = (task.retries, task.retry_delay, task.retry_exponential_backoff, task.retry_policy)
            assert retries == (3, timedelta(minutes=2), 2.0, DELIVERY_RETRIES["retry_policy"])
