"""Where the quality gates stand in the DAGs, and how a person overrides them."""

import pytest
import yaml
from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import ParamValidationError

GATED = {
    "cohort_sync_hourly": [
        ("delayed_crm.fix_sync", "delayed_crm.check_quality", "delayed_crm.deliver_sync"),
        ("busy_ads.fix_sync", "busy_ads.check_quality", "busy_ads.deliver_sync"),
    ],
    "cohort_sync_once": [("fix_sync", "check_quality", "approve_sync")],
    "export_hourly__flights": [("export_events", "check_quality", "publish_hour")],
    "import_s3__flights": [("convert_files", "check_quality", "load_files")],
}
OVERRIDDEN = [*GATED, "export_backfill"]


@pytest.mark.parametrize("dag_id", GATED)
def test_nothing_becomes_visible_before_its_gate(bag, dag_id):
    dag = bag.dags[dag_id]
    gates = {task.task_id for task in dag.tasks if task.task_id.endswith("check_quality")}
    assert gates == {gate for _, gate, _ in GATED[dag_id]}
    for before, gate, after in GATED[dag_id]:
        assert dag.get_task(gate).upstream_task_ids == {before}
        assert gate in dag.get_task(after).upstream_task_ids


def test_an_import_without_new_files_looks_at_what_an_earlier_try_left(bag):
    """Then convert_files is skipped, and neither the gate nor the load may be."""
    dag = bag.dags["import_s3__flights"]
    assert {dag.get_task(id).trigger_rule for id in ("check_quality", "load_files")} == {
        TriggerRule.NONE_FAILED
    }


def test_a_gate_that_is_switched_off_is_no_task(parse_dags, config_folder):
    for file in ("exports/flights.yaml", "imports/flights.yaml", "cohorts/delayed.yaml"):
        path = config_folder / file
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"quality": {"enabled": False}}))
    bag = parse_dags()
    assert bag.import_errors == {}
    assert set(bag.dags["export_hourly__flights"].task_dict) == {"export_events", "publish_hour"}
    assert bag.dags["export_hourly__flights"].get_task("export_events").downstream_task_ids == {
        "publish_hour"
    }
    assert bag.dags["import_s3__flights"].get_task("convert_files").downstream_task_ids == {"load_files"}
    tasks = set(bag.dags["cohort_sync_hourly"].task_dict)
    assert "delayed_crm.check_quality" not in tasks
    assert "busy_ads.check_quality" in tasks


@pytest.mark.parametrize("dag_id", OVERRIDDEN)
def test_a_person_may_override_a_gate_with_a_reason_and_nothing_else(bag, dag_id):
    field = bag.dags[dag_id].params.get_param("override_quality")
    assert field.resolve() is None
    assert field.resolve("The feed is known to be short today.") == "The feed is known to be short today."
    for bad in (True, 1, ["a reason"]):
        with pytest.raises(ParamValidationError):
            field.resolve(bad)
