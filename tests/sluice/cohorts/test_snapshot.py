"""Who is in a cohort as of a time: rows, columns and files that are looked at, and what is refused."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cohort_events import NOON, add_events, cohort_of, config_of

from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.query import check
from sluice.cohorts.snapshot import take_snapshot
from sluice.lake import LakeError
from sluice.lake.store import Lake

AS_OF = NOON + timedelta(hours=1)
DAY = timedelta(days=1)
EVERYBODY = "SELECT DISTINCT amplitude_id, user_id FROM events"


@pytest.fixture
def members(lake, tmp_path):
    """Take a snapshot and return it with its rows."""

    def take(cohort, as_of=AS_OF, **how):
        snapshot = take_snapshot(cohort, config_of(cohort, **how), lake, as_of, tmp_path / "snapshot.parquet")
        rows = pq.read_table(snapshot.path)
        assert rows.num_rows == snapshot.members
        assert rows.schema.names == ["amplitude_id", "user_id", *snapshot.properties]
        return snapshot, rows.to_pylist()

    return take


def ids(rows):
    return [(row["amplitude_id"], row["user_id"]) for row in rows]


def test_rows_before_the_time_of_the_project_count_sorted_and_once(lake, members):
    add_events(
        lake,
        [
            {"amplitude_id": 3, "user_id": "b"},
            {"amplitude_id": 3, "user_id": None},
            {"amplitude_id": 3, "user_id": "a"},
            {"amplitude_id": 1, "user_id": "é"},
            {"amplitude_id": 1, "user_id": "z"},
            {"amplitude_id": 2, "user_id": "now", "server_upload_time": AS_OF},
            {"amplitude_id": 4, "user_id": "before", "server_upload_time": AS_OF - timedelta(milliseconds=1)},
        ],
    )
    add_events(lake, [{"amplitude_id": 9, "user_id": "stranger"}], project=9)
    snapshot, rows = members(cohort_of(sql="SELECT amplitude_id, user_id FROM events"))
    assert ids(rows) == [(1, "z"), (1, "é"), (3, "a"), (3, "b"), (3, None), (4, "before")]
    assert snapshot.version == lake.events().version()
    assert pq.read_schema(snapshot.path).field("amplitude_id").nullable is False


def test_nobody_is_a_fine_answer(lake, members):
    assert members(cohort_of(sql=f"{EVERYBODY} WHERE city = 'Rome'"))[1] == []
    add_events(lake, [{"amplitude_id": 1, "server_upload_time": AS_OF}])
    snapshot, rows = members(
        cohort_of(sql="SELECT amplitude_id, user_id, city FROM events", properties=["city"])
    )
    assert rows == []
    assert snapshot.properties == ("city",)


def test_the_columns_of_the_table(lake, members):
    add_events(lake, [{"amplitude_id": 1, "$insert_id": "i", "city": "Rome"}])
    columns = 'amplitude_id, user_id, "$insert_id" AS i, upload_date AS d, loaded_at AS l, seq AS s'
    assert members(cohort_of(sql=f"SELECT {columns} FROM events", properties=["i", "d", "l", "s"]))[1] == [
        {"amplitude_id": 1, "user_id": None, "i": "i", "d": NOON.date(), "l": NOON, "s": 0}
    ]
    with pytest.raises(CohortQueryError, match='"dedup_hi" not found'):
        members(cohort_of(sql="SELECT amplitude_id, user_id FROM events WHERE dedup_hi > 0"))


def test_the_types_of_properties(lake, members):
    add_events(lake, [{"amplitude_id": 1, "user_properties": {"a": "x", "b": None, "c": [1, "y"]}}])
    instant, new_year = pa.timestamp("us", "UTC"), datetime(2013, 1, 1, tzinfo=UTC)
    number = "3e702190-9dcb-483a-94d8-58e93ce161de"
    columns = {
        "text": ("'a'", pa.string(), "a"),
        "no_value": ("NULL", None, None),
        "flag": ("true", pa.bool_(), True),
        "small": ("1::TINYINT", pa.int64(), 1),
        "whole": ("sum(9223372036854775807) OVER ()", pa.int64(), 2**63 - 1),
        "decimal": ("1.50::DECIMAL(38, 2)", pa.float64(), 1.5),
        "infinite": ("'infinity'::DOUBLE", pa.float64(), None),
        "day": ("DATE '2013-01-02'", pa.date32(), date(2013, 1, 2)),
        "instant": ("TIMESTAMPTZ '2013-01-01 01:00:00+01'", instant, new_year),
        "bare": ("TIMESTAMP '2013-01-01'", instant, new_year),
        "uuid": (f"UUID '{number}'", pa.string(), number),
        "stored": ("user_properties -> 'a'", pa.json_(), '"x"'),
        "stored_null": ("user_properties -> 'b'", pa.json_(), None),
        "stored_list": ("user_properties -> 'c'", pa.json_(), '[1,"y"]'),
        "list": ("[1, 2]", pa.json_(), "[1,2]"),
        "object": ("{'a': 1}", pa.json_(), '{"a":1}'),
        "map": ("MAP {'a': 1}", pa.json_(), '{"a":1}'),
    }  # fmt: skip
    selected = ", ".join(f"{sql} AS {name}" for name, (sql, _, _) in columns.items())
    cohort = cohort_of(
        sql=f"SELECT amplitude_id, '' AS user_id, {selected} FROM events", properties=list(columns)
    )
    snapshot, rows = members(cohort)
    assert rows == [
        {"amplitude_id": 1, "user_id": None} | {name: value for name, (_, _, value) in columns.items()}
    ]
    schema = pq.read_schema(snapshot.path)
    for name, (_, kind, _) in columns.items():
        assert kind is None or schema.field(name).type == kind, name


@pytest.mark.parametrize(
    ("columns", "properties", "sentence"),
    [
        ("amplitude_id", [], "does not return the column 'user_id'"),
        ("user_id", [], "does not return the column 'amplitude_id'"),
        ("amplitude_id, user_id", ["city"], "'city': it is one of the cohort's"),
        ("amplitude_id, user_id, City AS \"City\"", ["city"], "it returns 'City', and capitals"),
        ("amplitude_id, user_id, city", [], "returns the column 'city' too: list it under"),
        ("amplitude_id, user_id, app", [], "'app' too: the project is no portfolio"),
        ("amplitude_id, user_id, city, region AS city", ["city"], "the column 'city' twice"),
        ("user_id AS amplitude_id, user_id", [], "'amplitude_id' is VARCHAR, not a whole number"),
        ("amplitude_id, 5 AS user_id", [], "is INTEGER, not a text: CAST it AS VARCHAR"),
        ("amplitude_id, user_id, INTERVAL 1 DAY AS i", ["i"], "'i' is INTERVAL, which no receiver"),
        ("amplitude_id, user_id, nothing", [], '"nothing" not found'),
        ("NULL::BIGINT AS amplitude_id, user_id", [], "whose amplitude_id is null"),
        ("amplitude_id, user_id, city", ["city"],
         r"amplitude_id 1 twice: 'city' differs between the rows\. Return"),
        ("amplitude_id, user_id, city::INTEGER AS i", ["i"], "Could not convert string '…' to INT32"),
    ],
)  # fmt: skip
def test_what_is_refused(lake, members, tmp_path, columns, properties, sentence):
    add_events(lake, [{"amplitude_id": 1}, {"amplitude_id": 1, "city": "Rome"}])
    with pytest.raises(CohortQueryError, match=rf"cohorts/test\.yaml: cohort test: .*({sentence})"):
        members(cohort_of(sql=f"SELECT {columns} FROM events", properties=properties))
    assert list(tmp_path.glob("*.parquet")) == []


def test_a_contradiction_is_found_where_two_batches_meet(lake, members):
    sql = (
        "SELECT CASE WHEN i = 100001 THEN 100000 ELSE i END AS amplitude_id, NULL::VARCHAR AS user_id,"
        " CASE WHEN i = 100001 THEN 'b' ELSE 'a' END AS p FROM range(1, 200000) r(i)"
    )
    with pytest.raises(CohortQueryError, match="amplitude_id 100000 twice: 'p' differs"):
        members(cohort_of(sql=sql, properties=["p"]))
    snapshot, _ = members(cohort_of(sql=sql.replace("'b'", "'a'"), properties=["p"]))
    assert snapshot.members == 199_998


def test_a_query_is_checked_without_a_lake():
    good = cohort_of(sql=f"{EVERYBODY} WHERE server_upload_time >= $as_of - INTERVAL 7 DAY")
    check(good, config_of(good))
    for sql in ("SELECT amplitude_id FROM events", "SELECT amplitude_id, user_id FROM nowhere"):
        bad = cohort_of(sql=sql)
        with pytest.raises(CohortQueryError) as refused:
            check(bad, config_of(bad))
        assert refused.value.reason.startswith(("the query does not", "there is no table"))


def test_a_file_outside_of_the_time_is_not_opened(lake, members):
    for day in range(-3, 3):
        add_events(lake, [{"amplitude_id": day + 10, "server_upload_time": NOON + day * DAY}])
    add_events(lake, [{"amplitude_id": 99, "server_upload_time": NOON}], project=9)
    # A file that is opened and not there fails the query.
    days = (f"upload_date={NOON - DAY:%Y-%m-%d}", f"upload_date={NOON:%Y-%m-%d}")
    for file in Path(lake.uri, "events").glob("app=*/upload_date=*/*.parquet"):
        if file.parts[-2] not in days or file.parts[-3] == "app=9":
            file.unlink()
    for sql, found in (
        (f"{EVERYBODY} WHERE server_upload_time >= $as_of - INTERVAL 1 DAY", {10}),
        (f"{EVERYBODY} WHERE upload_date >= ($as_of - INTERVAL 1 DAY)::DATE", {9, 10}),
        (
            f"WITH e AS (FROM events) {EVERYBODY.replace('events', 'e')} WHERE upload_date = $as_of::DATE",
            {10},
        ),
        (
            f"FROM ({EVERYBODY} WHERE server_upload_time BETWEEN $as_of - INTERVAL 25 HOUR AND $as_of)",
            {9, 10},
        ),
    ):
        snapshot, rows = members(cohort_of(sql=sql))
        assert {row["amplitude_id"] for row in rows} == found
        assert snapshot.reads.files == len(found)
        assert snapshot.reads.of_files == 7
        assert set(snapshot.reads.columns) <= {"amplitude_id", "user_id", "server_upload_time", "upload_date"}
    with pytest.raises(CohortQueryError, match="a data file of the lake is gone"):
        members(cohort_of(sql=EVERYBODY))


def test_a_portfolio_has_one_row_a_member_and_a_column_per_source(lake, members):
    add_events(
        lake,
        [
            {"amplitude_id": 5, "user_id": "u", "city": "Rome"},
            {"amplitude_id": 6, "user_id": "u", "city": "Rome"},
        ],
        2,
    )
    add_events(
        lake, [{"amplitude_id": 7, "user_id": "u", "city": "Oslo"}, {"amplitude_id": 8, "city": "Bern"}], 1
    )
    add_events(lake, [{"amplitude_id": 1, "user_id": "stranger"}], 3)
    cohort = cohort_of(
        sql="SELECT DISTINCT app, amplitude_id, user_id, city FROM events", properties=["city"], project=4
    )
    snapshot, rows = members(cohort, sources={2: "Second", 1: "First"})
    assert snapshot.properties == ("city (Second)", "city (First)")
    assert rows == [
        {"amplitude_id": 5, "user_id": "u", "city (Second)": "Rome", "city (First)": "Oslo"},
        {"amplitude_id": 8, "user_id": None, "city (Second)": None, "city (First)": "Bern"},
    ]
    assert members(cohort, sources={1: "First", 2: "Second"})[1][0]["amplitude_id"] == 7


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("SELECT amplitude_id, user_id, city FROM events", "does not return the column 'app'"),
        ("SELECT 5 AS app, amplitude_id, user_id, city FROM events", "with app 5, which is none of"),
        ("SELECT NULL AS app, amplitude_id, user_id, city FROM events", "with app None, which is none of"),
        ("SELECT app, NULL AS amplitude_id, user_id, city FROM events", "whose amplitude_id is null"),
        ("SELECT app, amplitude_id, user_id, city FROM events", "amplitude_id 1 of project 1 twice: 'city'"),
    ],
)
def test_what_a_portfolio_refuses(lake, members, sql, sentence):
    add_events(
        lake, [{"amplitude_id": 1, "user_id": "u"}, {"amplitude_id": 1, "user_id": "u", "city": "Oslo"}], 1
    )
    with pytest.raises(CohortQueryError, match=sentence):
        members(cohort_of(sql=sql, properties=["city"], project=4), sources={1: "First"})


def test_a_lake_that_was_never_made(tmp_path):
    cohort = cohort_of(sql=EVERYBODY)
    with pytest.raises(LakeError, match="There is no table 'events'"):
        take_snapshot(cohort, config_of(cohort), Lake(str(tmp_path / "none")), AS_OF, tmp_path / "s.parquet")


def test_a_lake_on_s3(s3_store, bucket, tmp_path):
    lake = Lake(f"s3://{bucket}/lake", s3_store.delta_options())
    lake.create()
    add_events(lake, [{"amplitude_id": 1, "user_id": "u", "user_properties": {"plan": "gold"}}])
    add_events(lake, [{"amplitude_id": 2, "server_upload_time": NOON - 9 * DAY}])
    cohort = cohort_of(definition={"did": {"event": "tested", "last_days": 3}}, properties=["plan"])
    snapshot = take_snapshot(cohort, config_of(cohort), lake, AS_OF, tmp_path / "snapshot.parquet")
    rows = pq.read_table(snapshot.path).to_pylist()
    assert rows == [{"amplitude_id": 1, "user_id": "u", "plan": '"gold"'}]
    assert (snapshot.reads.files, snapshot.reads.of_files) == (1, 2)
