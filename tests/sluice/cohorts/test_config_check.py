"""Queries and files of ids that are no list of members, as `sluice check` names them."""

from __future__ import annotations

import pytest
import yaml

from sluice.cohorts.config_check import with_query_problems
from sluice.config import load_config

COHORT = {"id": "c", "name": "C", "owner": "a@b.example", "project": 10, "properties": ["city"]}
SYNC = {"id": "c_crm", "destination": "crm", "cadence": "hourly", "user_properties": ["city"]}
DESTINATION = {
    "id": "crm",
    "name": "CRM",
    "owner": "a@b.example",
    "kind": "s3",
    "projects": [10, 30],
    "bucket": "people",
}
PROJECTS = {
    "organisations": [{"id": 1, "name": "One"}],
    "projects": [
        {"id": 10, "name": "Ten", "organisation": 1},
        {"id": 11, "name": "Eleven", "organisation": 1},
        {"id": 30, "name": "Both", "organisation": 1, "kind": "portfolio", "sources": [10, 11]},
    ],
}
GOOD = "SELECT amplitude_id, user_id, max(event_properties ->> 'city') AS city FROM events GROUP BY ALL"


@pytest.fixture
def checked(tmp_path):
    def check(ids="", **keys):
        for name in ("cohorts", "cohort_destinations"):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "lake.yaml").write_text("uri: lake")
        (tmp_path / "projects.yaml").write_text(yaml.safe_dump(PROJECTS))
        (tmp_path / "cohort_destinations/crm.yaml").write_text(yaml.safe_dump(DESTINATION))
        content = COHORT | keys | {"syncs": [SYNC]}
        (tmp_path / "cohorts/c.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        (tmp_path / "cohorts/vips.csv").write_text(ids)
        config = load_config(tmp_path)
        assert config.problems == ()
        return with_query_problems(config)

    return check


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"sql": GOOD}, id="sql"),
        pytest.param({"sql": GOOD.replace("SELECT", "SELECT app,"), "project": 30}, id="a portfolio's sql"),
        pytest.param({"definition": {"did": {"event": "x", "last_days": 7}}}, id="definition"),
        pytest.param({"ids_file": "vips.csv", "ids": "user_id,city\na,Newark\n"}, id="file"),
        pytest.param({"sql": "SELECT whatever", "connection": "warehouse"}, id="another engine's sql"),
    ],
)
def test_a_list_of_members_is_no_problem(checked, keys):
    config = checked(**keys)
    assert [str(problem) for problem in config.problems] == []
    assert [sync.id for sync in config.syncs] == ["c_crm"]


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        pytest.param({"sql": GOOD.replace("AS city", "AS town")}, "sql", "city", id="a property is missing"),
        pytest.param({"sql": GOOD.replace("user_id, ", "")}, "sql", "user_id", id="the user id is missing"),
        pytest.param({"sql": GOOD.replace("max(", "now(), max(")}, "sql", "$as_of", id="the clock"),
        pytest.param(
            {"sql": GOOD.replace("events", "event")}, "sql", "there is no table event", id="no table"
        ),
        pytest.param({"sql": GOOD.replace("SELECT", "SELEKT")}, "sql", "is no SQL", id="no SQL"),
        pytest.param({"sql": GOOD, "project": 30}, "sql", "app", id="a portfolio's members have an app"),
        pytest.param(
            {"ids_file": "vips.csv", "ids": "email\na@b.example\n"}, "ids_file", "user_id", id="no ids"
        ),
        pytest.param(
            {"ids_file": "vips.csv", "ids": "user_id\na\n"}, "ids_file", "city", id="a column is missing"
        ),
    ],
)
def test_a_query_or_file_that_is_no_list_of_members_is_named(checked, keys, key, words):
    config = checked(**keys)
    (problem,) = config.problems
    assert (problem.file, problem.key) == ("cohorts/c.yaml", key)
    assert problem.line is not None
    assert words in problem.message
    assert "cohorts/c.yaml" not in problem.message
    assert (config.cohorts, config.syncs) == ((), ())
