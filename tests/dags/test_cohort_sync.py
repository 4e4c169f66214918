"""How the configuration of syncs becomes DAGs: a group a sync, and no sync that another waits for."""

import pytest
import yaml
from airflow.sdk.exceptions import ParamValidationError

SYNCS = [
    {"id": "a_hourly", "destination": "files", "cadence": "hourly"},
    {"id": "b_hourly", "destination": "people", "cadence": "hourly", "max_entering": 10},
    {"id": "a_minute", "destination": "people", "cadence": "real_time"},
    {"id": "a_once", "destination": "files", "cadence": "one_time"},
]


@pytest.fixture
def configure(config_folder):
    """Write one cohort with these syncs, and no other; return what the DAG file makes of them."""
    for folder in ("cohorts", "cohort_destinations"):
        (config_folder / folder).mkdir(exist_ok=True)
        for path in (config_folder / folder).iterdir():
            path.unlink()
    shared = {"owner": "data@example.com", "projects": [187520]}
    for destination in (
        {"id": "files", "name": "Files", "kind": "s3", "bucket": "audiences"},
        {"id": "people", "name": "People", "kind": "kinesis", "stream": "people"},
    ):
        path = config_folder / "cohort_destinations" / f"{destination['id']}.yaml"
        path.write_text(yaml.safe_dump(destination | shared))

    def configure(*syncs):
        # Each has a cohort of its own: two of one cohort to one place are refused.
        for sync in syncs:
            cohort = {
                "id": sync["id"].replace("_", ""),
                "name": f"Cohort of {sync['id']}",
                "owner": "team@example.com",
                "project": 187520,
                "sql": "SELECT amplitude_id, user_id FROM events",
                "syncs": [sync],
            }
            (config_folder / "cohorts" / f"{cohort['id']}.yaml").write_text(yaml.safe_dump(cohort))

    return configure


@pytest.fixture
def dags(configure, parse_dags):
    def dags(*syncs):
        configure(*syncs)
        bag = parse_dags()
        assert bag.import_errors == {}
        return {id: dag for id, dag in bag.dags.items() if id.startswith("cohort_sync")}

    return dags


def edges(dag):
    return {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}


def test_a_cadence_has_a_group_for_each_of_its_syncs_and_no_edge_between_them(dags):
    made = dags(*SYNCS)
    assert set(made) == {"cohort_sync_hourly", "cohort_sync_real_time", "cohort_sync_once"}
    assert edges(made["cohort_sync_hourly"]) == {
        "a_hourly.fix_sync": {"a_hourly.check_quality", "a_hourly.deliver_sync"},
        "a_hourly.check_quality": {"a_hourly.deliver_sync"},
        "a_hourly.deliver_sync": set(),
        "b_hourly.fix_sync": {"b_hourly.check_quality", "b_hourly.approve_sync", "b_hourly.deliver_sync"},
        "b_hourly.check_quality": {"b_hourly.approve_sync"},
        # Only a sync that has limits may wait for a person.
        "b_hourly.approve_sync": {"b_hourly.deliver_sync"},
        "b_hourly.deliver_sync": set(),
    }
    assert {task.owner for task in made["cohort_sync_hourly"].tasks} == {"team@example.com"}


def test_a_sync_that_waits_never_keeps_the_others_from_their_runs(dags):
    made = dags(*SYNCS)
    for dag, syncs in ((made["cohort_sync_hourly"], 2), (made["cohort_sync_real_time"], 1)):
        # One that waits and one to be tried again for each sync, and the turn that is due.
        assert dag.max_active_runs > 2 * syncs
        assert dag.max_active_tasks >= syncs


def test_in_real_time_the_next_turn_is_the_retry(dags):
    made = dags(*SYNCS)
    assert {task.retries for task in made["cohort_sync_real_time"].tasks} == {0}
    assert {task.retries for task in made["cohort_sync_hourly"].tasks} == {3}


@pytest.mark.parametrize(("cadence", "periodic"), [("hourly", True), ("daily", True), ("real_time", False)])
def test_a_sync_that_is_switched_off_can_be_backfilled(dags, cadence, periodic):
    made = dags({"id": "off", "destination": "people", "cadence": cadence, "enabled": False})
    timetable = type(made[f"cohort_sync_{cadence}"].timetable).__name__
    assert (timetable == "CronDataIntervalTimetable") is periodic


def test_no_sync_makes_no_dag(dags):
    assert dags() == {}


def test_the_form_offers_every_sync_those_of_no_cadence_first_and_takes_no_other(dags):
    once = dags(*SYNCS)["cohort_sync_once"]
    field = once.params.get_param("sync")
    assert field.schema["enum"] == ["a_once", "a_hourly", "a_minute", "b_hourly"]
    assert field.schema["values_display"]["a_once"] == "a_once: Cohort of a_once to Files, one time"
    assert field.resolve("b_hourly") == "b_hourly"
    for bad in ("nothing", "", None, ["a_once"]):
        with pytest.raises(ParamValidationError):
            field.resolve(bad)


def test_a_run_by_hand_is_limited_to_syncs_of_the_cadence(dags):
    field = dags(*SYNCS)["cohort_sync_hourly"].params.get_param("syncs")
    assert field.resolve(["a_hourly"]) == ["a_hourly"]
    with pytest.raises(ParamValidationError):
        field.resolve(["a_once"])


def test_a_broken_cohort_costs_the_others_nothing(configure, config_folder, parse_dags):
    configure(*SYNCS)
    (config_folder / "cohorts" / "broken.yaml").write_text("id: broken\nname: [")
    bag = parse_dags()
    assert len(bag.import_errors) == 1
    assert "a_hourly.fix_sync" in bag.dags["cohort_sync_hourly"].task_dict
