"""A cohort from a file of ids, resolved through a lake that imports have filled."""

from datetime import timedelta

import pyarrow.parquet as pq
import pytest
from cohort_events import NOON, PROJECT, cohort_of, config_of
from fresh import fresh_ledger
from lake_staging import stage

from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.query import check
from sluice.cohorts.snapshot import IdProblem, take_snapshot
from sluice.lake import LoadRequest, load


@pytest.fixture
def ledger(tmp_path):
    return fresh_ledger(tmp_path / "ledger.db")


@pytest.fixture
def people(lake, ledger):
    """Load events of users, and of a device without one; return the Amplitude IDs by name."""

    def fill(*users, project=PROJECT, device="device"):
        file = stage(
            lake,
            f"{project}-{users}.csv",
            map(str, users),
            user=lambda name: None if name == "-" else name,
            device=device,
        )
        load(lake, ledger, LoadRequest(project, "test", [file]))
        rows = lake.events().to_pyarrow_table(columns=["app", "amplitude_id", "user_id"]).to_pylist()
        return {row["user_id"] or "-": row["amplitude_id"] for row in rows if row["app"] == project}

    return fill


@pytest.fixture
def members(lake, ledger, tmp_path):
    def take(text, properties=(), sources=None, encoding="utf-8"):
        (tmp_path / "cohorts").mkdir(exist_ok=True)
        (tmp_path / "cohorts" / "vips.csv").write_text(text, encoding=encoding)
        cohort = cohort_of(ids_file="vips.csv", properties=properties)
        config = config_of(cohort, tmp_path, sources)
        snapshot = take_snapshot(
            cohort, config, lake, NOON - timedelta(days=999), tmp_path / "s.parquet", ledger=ledger
        )
        return snapshot, pq.read_table(snapshot.path).to_pylist()

    return take


def test_users_are_resolved_and_what_adds_nobody_is_told_by_its_line(people, members):
    ids = people("ann", "bob, jr", "-")
    snapshot, rows = members('user_id\nann\n"bob, jr"\n\nnobody\n ann \n')
    assert rows == sorted(
        ({"amplitude_id": ids[name], "user_id": name} for name in ("ann", "bob, jr")),
        key=lambda row: row["amplitude_id"],
    )
    assert (snapshot.members, snapshot.unresolved, snapshot.doubles) == (2, 1, 1)
    assert snapshot.id_problems == (
        IdProblem(5, "nobody", "nobody in the lake has this user_id"),
        IdProblem(6, "ann", "the same as line 2"),
    )


def test_amplitude_ids_are_resolved_to_users_and_to_devices(people, members):
    ids = people("ann", "-")
    text = f"plan,amplitude_id\ngold,{ids['ann']}\n,0{ids['-']}\nfree,7\nfree,x\ngold,+{ids['ann']}\nfree,\n"
    snapshot, rows = members(text, ["plan"])
    assert {(row["amplitude_id"], row["user_id"], row["plan"]) for row in rows} == {
        (ids["ann"], "ann", "gold"),
        (ids["-"], None, None),
    }
    assert [(one.line, one.reason) for one in snapshot.id_problems] == [
        (4, "nobody in the lake has this amplitude_id"),
        (5, "nobody in the lake has this amplitude_id: an Amplitude ID is a whole number"),
        (6, "the same as line 2"),
        (7, "there is no amplitude_id"),
    ]
    assert (snapshot.unresolved, snapshot.doubles) == (3, 1)


def test_rows_of_a_load_that_never_committed_do_not_count(people, members, lake, ledger):
    ids = people("ann")
    orphan = lake.table("users").to_pyarrow_table().to_pylist()[0] | {
        "attempt": "gone",
        "n": 99,
        "amplitude_id": 5,
    }
    import pyarrow as pa
    from deltalake import write_deltalake

    from sluice.lake.schema import USERS

    write_deltalake(lake.table("users"), pa.Table.from_pylist([orphan], schema=USERS), mode="append")
    assert members("user_id\nann\n")[1] == [{"amplitude_id": ids["ann"], "user_id": "ann"}]


def test_a_portfolio_has_the_first_source_that_knows_somebody(people, members):
    first, second = people("ann", "bob", project=1), people("ann", "cid", project=2)
    sources = {2: "Second", 1: "First"}
    snapshot, rows = members("user_id,plan\nann,gold\nbob,free\n", ["plan"], sources)
    assert snapshot.properties == ("plan (Second)", "plan (First)")
    assert {(row["amplitude_id"], row["plan (Second)"], row["plan (First)"]) for row in rows} == {
        (second["ann"], "gold", "gold"),
        (first["bob"], None, "free"),
    }
    rows = members(f"amplitude_id\n{first['ann']}\n{second['cid']}\n", (), sources)[1]
    assert {row["user_id"] for row in rows} == {"ann", "cid"}


@pytest.mark.parametrize(
    ("text", "encoding", "sentence"),
    [
        ("", "utf-8", "names nothing"),
        ("name\nann\n", "utf-8", "one of which is user_id or amplitude_id, and not both; it names name"),
        ("user_id,amplitude_id\n", "utf-8", "and not both"),
        (
            "user_id,more\n",
            "utf-8",
            "has the columns user_id, more, and by `properties` it should have user_id:",
        ),
        ("user_id\nann,1\n", "utf-8", "line 2: 2 cells where the first line names 1 columns"),
        ("user_id\n\xe9\n", "latin-1", "is no CSV file in UTF-8"),
        ('user_id\n"ann\n', "utf-8", "is no CSV file in UTF-8"),
    ],
)
def test_what_is_refused(lake, members, text, encoding, sentence):
    with pytest.raises(CohortQueryError, match=rf"cohorts/test\.yaml: cohort test: .*{sentence}"):
        members(text, encoding=encoding)


def test_one_id_with_two_values_is_refused(people, members):
    with pytest.raises(CohortQueryError, match="lines 2 and 4 have the same id and differ in 'plan'"):
        members("user_id,plan\nann,gold\nbob,free\nann,\n", ["plan"])


def test_a_mark_in_front_is_no_part_of_the_header(people, members):
    people("ann")
    assert members("user_id\nann\n", encoding="utf-8-sig")[0].members == 1


def test_a_file_that_is_not_there_and_a_ledger_that_is_not_named(lake, tmp_path):
    cohort = cohort_of(ids_file="vips.csv")
    with pytest.raises(CohortQueryError, match=r"there is no file .*vips\.csv: put it there"):
        check(cohort, config_of(cohort, tmp_path))
    with pytest.raises(CohortQueryError, match="looked up with the ledger"):
        take_snapshot(cohort, config_of(cohort, tmp_path), lake, NOON, tmp_path / "s.parquet")


@pytest.mark.parametrize("name", ["place", "app", "line", "id", "Line", "n"])
def test_a_property_may_have_any_name(people, members, name):
    ids = people("ann")
    rows = members(f"user_id,{name}\nann,Rome\n", [name])[1]
    assert rows == [{"amplitude_id": ids["ann"], "user_id": "ann", name: "Rome"}]
