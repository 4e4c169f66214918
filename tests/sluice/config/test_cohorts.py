"""What a cohort's own file may say, and what it says of a mistake: file, key, and what to write instead."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sluice.config.cohorts import MAX_PROPERTIES
from sluice.errors import SluiceError

# A sync with one key of its own.
CRM = {"id": "delayed_crm", "destination": "crm", "cadence": "hourly"}


def test_a_cohort_with_two_syncs_is_read(folder):
    folder.cohort(
        {}, {"id": "delayed_ads", "destination": "ads", "cadence": "real_time", "max_exit_share": 1}
    )
    folder.s3()
    folder.kinesis()
    config = folder.load()
    assert config.problems == ()
    assert [sync.id for sync in config.syncs] == ["delayed_crm", "delayed_ads"]
    sync = config.sync("delayed_ads")
    assert (sync.cohort, sync.destination) == (config.cohort("delayed"), config.cohort_destination("ads"))
    assert (sync.config.approval_hours, sync.config.row_log_days) == (12, 14)
    with pytest.raises(SluiceError, match="valid are: delayed_crm, delayed_ads"):
        config.sync("other")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        pytest.param(
            {"id": "de_layed"},
            "line 1: id: not the id of a cohort. Found: 'de_layed'. Allowed: 1 to 32 letters and digits (it"
            " stands between underscores in the names of files).",
            id="an underscore in the id",
        ),
        pytest.param({"id": "a" * 33}, "id: not the id of a cohort.", id="a long id"),
        pytest.param(
            {"sql": None},
            "exactly one of sql, definition and ids_file; this one has none of them.",
            id="nothing",
        ),
        pytest.param(
            {"ids_file": "vips.csv"},
            "exactly one of sql, definition and ids_file; this one has sql and ids_file.",
            id="two origins",
        ),
        pytest.param(
            {"definition": {"did": {"event": "x", "last_days": 1}}, "connection": "warehouse"},
            "exactly one of sql, definition and ids_file; this one has sql and definition.",
            id="an sql on a connection beside a definition",
        ),
        pytest.param(
            {"sql": None, "connection": "warehouse", "definition": {"did": {"event": "x", "last_days": 1}}},
            "`connection` names the database of an `sql`, and this cohort comes from `definition`: take"
            " `connection` out.",
            id="a connection without sql",
        ),
        pytest.param(
            {"sql": None, "kind": "funnel", "ids_file": "vips.csv"},
            "`kind: funnel` says what an `sql` computes, and a cohort from `ids_file` is behavioral: take"
            " `kind` out, or write the cohort as sql.",
            id="a kind without sql",
        ),
        pytest.param({"sql": "  \n"}, "line 5: sql: empty. Found: ' \\n'. Allowed: one SELECT;", id="no sql"),
        pytest.param(
            {"kind": "cluster"},
            "kind: wrong value. Found: 'cluster'. Allowed: behavioral, funnel,",
            id="kind",
        ),
        pytest.param(
            {"sql": None, "ids_file": "../vips.csv"},
            "ids_file: not the name of a CSV file (a name alone, no folders). Found: '../vips.csv'.",
            id="a file outside of the folder",
        ),
        pytest.param(
            {"properties": ["city", "City"]},
            "properties: named twice (capitals do not count): City, city. Found:",
            id="properties that differ by capitals",
        ),
        pytest.param(
            {"properties": ["userID"]},
            "properties.0: userID is a column of every list already. Found: 'userID'. Allowed: a list of"
            " names.",
            id="a property of an id's name",
        ),
        pytest.param(
            {"properties": [f"p{n}" for n in range(MAX_PROPERTIES + 1)]},
            f"properties: {MAX_PROPERTIES + 1} names, at most {MAX_PROPERTIES} are read.",
            id="too many properties",
        ),
        pytest.param(
            {"syncs": [CRM | {"id": "a-b"}]},
            "syncs.0.id: not an id. Found: 'a-b'. Allowed:",
            id="id of a sync",
        ),
        pytest.param(
            {"syncs": [CRM | {"cadence": "weekly"}]},
            "line 12: syncs.0.cadence: wrong value. Found: 'weekly'. Allowed: one_time, hourly, daily or"
            " real_time.",
            id="cadence",
        ),
        pytest.param(
            {"syncs": [{"id": "a", "cadence": "hourly"}]},
            "line 10: syncs.0.destination: missing. Allowed: the id of a cohort destination that takes the"
            " cohort's project.",
            id="no destination",
        ),
        pytest.param(
            {"syncs": [CRM | {"routing_key": "a_b"}]},
            "syncs.0.routing_key: not a routing key. Found: 'a_b'. Allowed: 1 to 64 letters, digits, dots and"
            " dashes, or null; for S3 only.",
            id="an underscore in the routing key",
        ),
        pytest.param(
            {"syncs": [CRM | {"routing_key": "k" * 65}]}, "not a routing key.", id="a long routing key"
        ),
        pytest.param(
            {"syncs": [CRM | {"max_exit_share": 1.5}]},
            "syncs.0.max_exit_share: wrong value. Found: 1.5 (a number). Allowed: a number from 0 to 1, or"
            " null.",
            id="a share above 1",
        ),
        pytest.param(
            {"syncs": [CRM | {"max_exit_share": -0.1}]}, "Allowed: a number from 0 to 1,", id="share below 0"
        ),
        pytest.param(
            {"syncs": [CRM | {"max_exit_share": float("nan")}]},
            "Allowed: a number from 0 to 1,",
            id="no share",
        ),
        pytest.param(
            {"syncs": [CRM | {"max_entering": -1}]}, "syncs.0.max_entering: wrong value.", id="max_entering"
        ),
        pytest.param({"syncs": [CRM | {"approval_hours": 0}]}, "from 1 to 168.", id="approval_hours"),
        pytest.param({"syncs": [CRM | {"row_log_days": 0}]}, "from 1 to 3660.", id="row_log_days"),
        pytest.param(
            {"syncs": [CRM | {"routingkey": "x"}]},
            "syncs.0.routingkey: unknown key; did you mean routing_key? Allowed: id, destination, cadence,",
            id="a key that nobody reads",
        ),
        pytest.param({"syncs": ["crm"]}, "syncs.0: not made of keys and values. Found: 'crm'.", id="no sync"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_to_write(folder, keys, problem):
    folder.cohort(**keys)
    folder.s3()
    text = folder.only_problem()
    assert text.startswith("cohorts/delayed.yaml")
    assert problem in text


def test_reading_cohorts_loads_no_engine(folder):
    """DAG files are parsed every few seconds: only a thorough check may look into queries."""
    folder.cohort({})
    folder.s3()
    program = (
        "import sys, pathlib; from sluice.config import load_config;"
        f" config = load_config(pathlib.Path({str(folder.path)!r}));"
        " assert [sync.id for sync in config.syncs] == ['delayed_crm'], config.problems;"
        " heavy = {'duckdb', 'pyarrow', 'deltalake', 'numpy', 'boto3', 'sqlalchemy'} & set(sys.modules);"
        " assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
