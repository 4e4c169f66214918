"""`sluice quality propose` on a lake: what it drafts is taken by the configuration, and holds."""

from datetime import timedelta

import pytest
import yaml
from click.testing import CliRunner
from cohort_config import PROJECT, write_cohort, write_cohort_config
from cohort_events import NOON, add_events

from sluice.cli import cli
from sluice.config import load_config

OWNER = "data@example.com"


def event(number, **keys):
    return {
        "amplitude_id": number % 30,
        "user_id": f"N{number % 30:05d}",
        "event_type": "flown" if number % 7 else "cancelled",
        "event_time": NOON - timedelta(days=2),
        "source": "flights",
        "event_properties": {"carrier": "AA" if number % 2 else "UA", "delay": number % 50},
        "user_properties": {"e_mail": f"ann{number}@example.com"},
        "server_upload_time": NOON + timedelta(minutes=number % 120),
    } | keys


@pytest.fixture
def folder(tmp_path, lake):
    """A lake with two hours of events of a source, and a configuration of what reads and fills it."""
    add_events(lake, [event(number) for number in range(600)])
    folder = tmp_path / "config"
    write_cohort_config(folder, lake=lake.uri, bucket="nowhere")
    (folder / "converters").mkdir()
    (folder / "converters" / "plain.json").write_text("{}")
    write(folder, "exports/flights.yaml", id="flights", name="Out", projects=[PROJECT], bucket="out-bucket")
    write(folder, "imports/flights.yaml", id="flights", name="In", project=PROJECT, bucket="in-bucket",
          region="us-east-1", converter="plain.json")  # fmt: skip
    write_cohort(folder, "vip", sql=(
        "SELECT amplitude_id, user_id, max(event_properties->>'carrier') AS carrier, count(*) AS flights"
        " FROM events WHERE server_upload_time < $as_of GROUP BY ALL"
    ), properties=["carrier", "flights"])  # fmt: skip
    return folder


def write(folder, file, **content):
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(yaml.safe_dump({"owner": OWNER} | content))


def propose(folder, *arguments):
    return CliRunner().invoke(cli, ["quality", "--config", str(folder), "propose", *arguments])


def added(folder, file, text):
    """Put a draft into the thing's own file; return the configuration."""
    path = folder / file
    path.write_text(path.read_text() + text)
    config = load_config(folder)
    assert [str(problem) for problem in config.problems] == []
    return config


def asked(thing):
    return {(each.type, each.kwargs.get("column")): each.kwargs for each in thing.quality.expectations}


IN_SET = "expect_column_values_to_be_in_set"
BETWEEN = "expect_column_values_to_be_between"
ROWS = ("expect_table_row_count_to_be_between", None)


def test_a_destination(folder):
    done = propose(folder, "export/flights")
    assert done.exit_code == 0, done.output
    assert (
        "# events of exports/flights.yaml, uploaded 2013-01-02 00:00 to 2013-01-03 00:00 UTC" in done.output
    )
    assert "ann" not in done.output
    assert "already" not in done.output
    (export,) = added(folder, "exports/flights.yaml", done.output).exports
    found = asked(export)
    assert found[IN_SET, "event_type"]["value_set"] == ["cancelled", "flown"]
    assert found[IN_SET, "event_properties.carrier"]["value_set"] == ["AA", "UA"]
    # 22 of the day's hours had no events.
    assert found[ROWS] == {"max_value": 600}


def test_a_destination_is_looked_at_under_its_filter(folder):
    write(folder, "exports/flights.yaml", id="flights", name="Out", projects=[PROJECT], bucket="out-bucket",
          filter={"event_types": {"include": ["cancelled"]}})  # fmt: skip
    done = propose(folder, "export/flights", "--from", "2013-01-02T13:00", "--to", "2013-01-02T14:00")
    rows = sum(number % 7 == 0 and number % 120 >= 60 for number in range(600))
    assert f"# {rows} rows, {rows} to {rows} in each hour" in done.output
    assert "flown" not in done.output


def test_a_source(folder, lake):
    add_events(lake, [event(number, source="other", event_type="other") for number in range(50)])
    done = propose(folder, "import/flights")
    assert done.exit_code == 0, done.output
    (source,) = added(folder, "imports/flights.yaml", done.output).imports
    found = asked(source)
    assert found[IN_SET, "event_type"]["value_set"] == ["cancelled", "flown"]
    assert found["expect_column_values_to_match_regex", "user_properties.e_mail"]
    # What a load gives to rows is not there when its gate looks at them.
    assert not any("server_upload_time" in str(kwargs) for kwargs in found.values())


def test_a_cohort(folder):
    done = propose(folder, "vip", "--to", "2013-01-03")
    assert done.exit_code == 0, done.output
    assert "members of cohorts/vip.yaml as of 2013-01-03 00:00 UTC" in done.output
    (cohort,) = added(folder, "cohorts/vip.yaml", done.output).cohorts
    found = asked(cohort)
    assert found[ROWS] == {"min_value": 15, "max_value": 60}
    assert found["expect_column_values_to_be_unique", "user_id"]
    assert found[BETWEEN, "flights"] == {"column": "flights", "min_value": 18, "max_value": 22}


def test_a_portfolio_is_looked_at_by_the_names_of_its_properties(folder, lake):
    add_events(lake, [event(number) for number in range(60)], project=5)
    projects = yaml.safe_load((folder / "projects.yaml").read_text())
    projects["projects"] += [
        {"id": 5, "name": "Five", "organisation": 1},
        {"id": 9, "name": "Both", "organisation": 1, "kind": "portfolio", "sources": [PROJECT, 5]},
    ]
    (folder / "projects.yaml").write_text(yaml.safe_dump(projects))
    write(folder, "cohorts/both.yaml", id="both", name="Both", project=9, properties=["flights"], sql=(
        "SELECT app, amplitude_id, user_id, count(*) AS flights FROM events"
        " WHERE server_upload_time < $as_of GROUP BY ALL"
    ))  # fmt: skip
    done = propose(folder, "both", "--to", "2013-01-03")
    assert done.exit_code == 0, done.output
    assert "# 60 rows, 30 to 30 in each turn" in done.output
    config = added(folder, "cohorts/both.yaml", done.output)
    assert (BETWEEN, "flights") in asked(config.cohort("both"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["flights"], "flights may be import/flights or export/flights: say which"),
        (["nobody"], "valid are: import/flights, export/flights, cohort/vip"),
        (["sync/vip"], "is no import/ID, export/ID or cohort/ID"),
        (["vip", "--from", "2013-01-01"], "leave --from out"),
        (["export/flights", "--to", "2012-01-01"], "There are no events of exports/flights.yaml"),
        (["import/flights", "--from", "2013-02-01", "--to", "2013-02-02"], "name a period that has some"),
        (["vip", "--to", "2012-01-01"], "There are no members of cohorts/vip.yaml"),
    ],
)
def test_what_cannot_be_drafted_is_said(folder, arguments, words):
    done = propose(folder, *arguments)
    assert words in str(done.exception)


def test_a_file_that_has_a_suite_is_said(folder):
    path = folder / "exports" / "flights.yaml"
    path.write_text(path.read_text() + "quality: {sample_rows: 100}\n")
    done = propose(folder, "export/flights")
    assert "# exports/flights.yaml has a key `quality` already: add to its expectations.\n" in done.output
