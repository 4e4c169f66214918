"""A draft in force: the gate of each pipeline lets the data pass from which it was drafted."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cohort_turns import Syncs, hour, s3_sync
from exporting import Destination
from fresh import fresh_ledger
from gated_import import GatedImport

from sluice.cli import quality_propose
from sluice.cohorts.engine import connect
from sluice.config.quality import QualityConfig
from sluice.imports.gate import check_load
from sluice.imports.load import load_run
from sluice.ledger import Ledger
from sluice.quality.propose import propose, text_of


@pytest.fixture
def ledger(tmp_path):
    return fresh_ledger(tmp_path / "ledger.db")


def suite_of(data, connection):
    """Draft a suite, and take it through its YAML."""
    proposals = propose(connection, data.subject, unit=data.unit, units=data.units)
    return QualityConfig.model_validate(yaml.safe_load(text_of(proposals, ["A draft."]))["quality"])


def asked(settings):
    return {each.type for each in settings.expectations}


def assert_clean(gate, settings):
    found = [result for result in gate.results if result["expectation"]["configured"]]
    assert len(found) == len(settings.expectations) > 0
    assert [result for result in found if not result["success"] or result["error"]] == []
    assert gate.state == "passed"


def test_an_export(s3, bucket, tmp_path):
    destination = Destination.make(s3, bucket, tmp_path)
    noon = datetime(2013, 1, 2, 12, tzinfo=UTC)
    for number in range(3):
        at = noon + timedelta(hours=number)
        destination.add_events([f"{number}-{n:03}" for n in range(60)], at)
    with connect() as connection:
        data = quality_propose._exported(connection, destination.lake, destination.config, None, None)
        settings = suite_of(data, connection)
    assert asked(settings) >= {
        "expect_column_values_to_match_regex",
        "expect_table_row_count_to_be_between",
        "expect_column_pair_values_a_to_be_greater_than_b",
    }
    destination.configure(quality=settings)
    for number in range(3):
        destination.exporter(f"run-{number}").export(noon + timedelta(hours=number))
        (gate,) = destination.check(f"run-{number}")
        assert_clean(gate, settings)


@pytest.mark.parametrize("replay", [False, True])
def test_an_import(lake, ledger: Ledger, replay):
    imports = GatedImport(lake, ledger, replay=replay)
    for number in range(3):
        key = f"file-{number}.csv"
        imports.stage(key, imports.rows(key, 40), f"run-{number}")
        check_load(imports.run(f"run-{number}"))
        load_run(imports.run(f"run-{number}"))
    with connect() as connection:
        data = quality_propose._imported(connection, lake, imports.source, None, None)
        settings = suite_of(data, connection)
    assert "expect_column_values_to_be_of_type" in asked(settings) or replay
    again = GatedImport(lake, ledger, replay=replay, quality=settings.as_json())
    again.stage("file-1-again.csv", imports.rows("file-1.csv", 40), "run-4")
    assert_clean(check_load(again.run("run-4")), settings)


def test_a_cohort(lake, ledger, tmp_path, monkeypatch):
    """Properties of every type that a snapshot has."""
    there = Syncs(lake, ledger)
    monkeypatch.setattr("sluice.cohorts.snapshot.take_snapshot", there.take_snapshot)
    numbers = random.Random(1)
    count = 100
    there.members = [(n, f"user-{n:04}") for n in range(1, count + 1)]
    there.properties = {
        "plan": [numbers.choice(["gold", "silver", None]) for _ in range(count)],
        "flights": [numbers.randrange(1000) for _ in range(count)],
        "spent": [numbers.random() * 100 for _ in range(count)],
        "paying": [numbers.random() < 0.5 for _ in range(count)],
        "born": [date(1950 + n % 50, 1, 1) for n in range(count)],
        "seen": [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in range(count)],
    }
    names = tuple(there.properties)
    sync = s3_sync(cohort={"properties": names}, user_properties=names)
    path = Path(tmp_path, "members.parquet")
    there.take_snapshot(sync.cohort, None, there.lake, hour(1), path)
    with connect() as connection:
        data = quality_propose._sent(connection, sync.cohort, [], path, hour(1))
        settings = suite_of(data, connection)
    assert asked(settings) >= {
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_unique",
        "expect_column_values_to_match_regex",
    }
    sync = replace(sync, cohort=sync.cohort.model_copy(update={"quality": settings}))
    turn = there.fix(sync, hour(1), "run").turn
    assert_clean(there.check(sync, turn.number, "run"), settings)
