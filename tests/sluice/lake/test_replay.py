"""Replayed rows at the load: once per uuid, nothing stamped anew, no Amplitude ID of another user."""

import json
import uuid
from datetime import timedelta
from functools import partial

import pytest
from fresh import fresh_ledger
from lake_staging import stage, staged_rows
from replay_staging import FIVE, row, stage_replay, uuid_of
from sqlalchemy import select

from sluice.lake import Counts, LoadRequest, close_until, decision, hour_fingerprint, load
from sluice.lake.projection import hour_of
from sluice.lake.replay import decide_replay
from sluice.ledger.counters import take_block
from sluice.ledger.tables import files as files_table

PROJECT = 187520
HOUR = hour_of(FIVE)


@pytest.fixture
def ledger(tmp_path):
    """Nothing here depends on the ledger's database."""
    return fresh_ledger(tmp_path / "ledger.db")


def replay(lake, ledger, *files, source="again", budget=1.0):
    staged = [stage_replay(lake, uuid.uuid4().hex, rows) for rows in files]
    decide = partial(decide_replay, error_budget=budget)
    return load(lake, ledger, LoadRequest(PROJECT, source, staged, decide=decide)).counts


def rows_of(lake, *columns):
    return sorted(
        (tuple(row[name] for name in columns) for row in lake.events().to_pyarrow_table().to_pylist()),
        key=str,
    )


def ids(lake, table, key):
    rows = lake.table(table).to_pyarrow_table().to_pylist()
    return sorted(((row[key], row["amplitude_id"]) for row in rows), key=str)


def test_rows_keep_their_ids_and_times(lake, ledger):
    rows = [
        row("a", server_upload_time=FIVE + timedelta(hours=30), processed_time=None),
        row("b", amplitude_id=7, user_id=None, extra='{"new_key": 1.10}', revision=3),
    ]
    assert replay(lake, ledger, rows) == Counts(read=2, loaded=2)
    columns = ("amplitude_id", "uuid", "app", "server_upload_time", "processed_time", "extra")
    assert rows_of(lake, *columns) == [
        (45975551903, uuid_of("a"), PROJECT, FIVE + timedelta(hours=30), None, None),
        (7, uuid_of("b"), PROJECT, FIVE, FIVE, '{"new_key": 1.10}'),
    ]
    assert rows_of(lake, "upload_date", "seq", "revision", "source", "row") == [
        (FIVE.date(), 0, 0, "again", 1),
        ((FIVE + timedelta(hours=30)).date(), 1, 0, "again", 0),
    ]
    assert all(loaded_at > FIVE for (loaded_at,) in rows_of(lake, "loaded_at"))


def test_a_uuid_is_loaded_once_in_a_file_in_a_load_and_ever(lake, ledger):
    first = replay(lake, ledger, [row("a"), row("a"), row("b")], [row("b"), row("c")])
    assert first == Counts(read=5, loaded=3, duplicate=2)
    # Whatever the row says otherwise: another hour, another user, capital letters.
    copies = [
        row("a", server_upload_time=FIVE + timedelta(days=400), amplitude_id=9, user_id="else"),
        row("b", uuid=uuid_of("b").upper()),
        row("d"),
    ]
    assert replay(lake, ledger, copies) == Counts(read=3, loaded=1, duplicate=2)
    assert replay(lake, ledger, copies, source="another") == Counts(read=3, loaded=0, duplicate=3)
    assert [kind for (kind,) in rows_of(lake, "event_type")] == ["a", "b", "c", "d"]


def test_the_uuid_of_an_imported_row_counts_too(lake, ledger):
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f", ["i"])]))
    [(known,)] = rows_of(lake, "uuid")
    assert replay(lake, ledger, [row("x", uuid=known)]) == Counts(read=1, duplicate=1)


def test_equal_insert_ids_do_not_matter_but_to_a_later_import(lake, ledger):
    keys = {"dedup_hi": 1, "dedup_lo": 2}
    assert replay(lake, ledger, [row("a", **keys), row("b", **keys)]) == Counts(read=2, loaded=2)
    imported = stage(lake, "f", ["i"])
    [key] = staged_rows(["i"], key="f").select(["dedup_hi", "dedup_lo"]).to_pylist()
    assert replay(lake, ledger, [row("c", **key)]) == Counts(read=1, loaded=1)
    assert load(lake, ledger, LoadRequest(PROJECT, "s", [imported])).counts == Counts(read=1, duplicate=1)


def test_an_amplitude_id_of_another_user_is_rejected_with_its_row(lake, ledger):
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f", ["i"], user=lambda _: "ann")]))
    [(taken,)] = rows_of(lake, "amplitude_id")
    properties = '{"price": 1.10, "long": 123456789012345678901234567890}'
    rows = [
        row("mine", user_id="ann", amplitude_id=taken),
        row("other", amplitude_id=taken, event_properties=properties, extra='{"more":[1 ,2]}'),
        row("free", amplitude_id=5),
    ]
    assert replay(lake, ledger, rows) == Counts(read=3, loaded=2, rejected=1)
    [reject] = lake.table("rejects").to_pyarrow_table().to_pylist()
    assert (reject["row"], reject["field"]) == (1, "amplitude_id")
    assert reject["reason"] == f'{taken} is the Amplitude ID of another user in this lake, "ann"'
    raw = json.loads(reject["raw"])
    assert (raw["uuid"], raw["app"], raw["amplitude_id"]) == (uuid_of("other"), PROJECT, taken)
    assert raw["server_upload_time"] == "2020-01-25 17:03:12.253000"
    assert f'"event_properties":{properties}' in reject["raw"]
    assert reject["raw"].endswith(',"more":[1 ,2]}')


def test_inside_a_load_the_first_user_has_the_id(lake, ledger):
    rows = [row("a", user_id=None), row("b"), row("c", user_id="jill"), row("d", user_id=None), row("e")]
    assert replay(lake, ledger, rows) == Counts(read=5, loaded=4, rejected=1)
    assert [kind for (kind,) in rows_of(lake, "event_type")] == ["a", "b", "d", "e"]


def test_a_refused_row_does_not_keep_another_of_its_uuid_out(lake, ledger):
    replay(lake, ledger, [row("a", amplitude_id=1, user_id="ann")])
    rows = [row("b", amplitude_id=1, user_id="bob"), row("b", amplitude_id=2, user_id="bob")]
    assert replay(lake, ledger, rows) == Counts(read=2, loaded=1, rejected=1)


def test_a_file_of_which_too_much_is_refused_fails_and_holds_no_id(lake, ledger):
    replay(lake, ledger, [row("a", amplitude_id=1, user_id="ann")])
    bad = [row(f"b{n}", amplitude_id=n, user_id="bob") for n in (1, 1, 2)]
    # Cyd's row is refused only as long as Bob's file may hold the ID 2.
    good = [row("c1", amplitude_id=2, user_id="cyd"), row("c2", amplitude_id=3, user_id="cyd")]
    counts = replay(lake, ledger, bad, good, budget=0.5)
    assert counts == Counts(read=5, loaded=2, rejected=3)
    assert [kind for (kind,) in rows_of(lake, "event_type")] == ["a", "c1", "c2"]
    with ledger.begin() as connection:
        found = {one.loaded: one for one in connection.execute(select(files_table)) if one.rows_read > 1}
    assert (found[0].state, found[2].state) == ("failed", "done")
    assert found[0].reason.startswith(
        "2 of 3 rows were rejected (66.7%), more than the source's error budget"
    )
    rejects = lake.table("rejects").to_pyarrow_table(columns=["key", "row"]).to_pylist()
    assert rejects == [{"key": found[0].key, "row": n} for n in (0, 1)]


def test_dropped_duplicates_are_shown_with_what_stayed(lake, ledger):
    replay(lake, ledger, [row("a"), row("b")])
    replay(lake, ledger, [row("a", event_type="changed"), row("c"), row("c")], source="another")
    rows = lake.table("duplicates").to_pyarrow_table().to_pylist()
    assert sorted((one["row"], one["stayed_source"], one["stayed_row"], one["differs"]) for one in rows) == [
        (0, "again", 0, True),
        (2, "another", 1, False),
    ]


def test_new_users_and_devices_get_the_ids_of_their_rows(lake, ledger):
    replay(
        lake,
        ledger,
        [
            row("a", user_id="ann", amplitude_id=1),
            row("b", user_id=None, device_id="tablet", amplitude_id=2),
            # Ann's second ID, and rows of nobody: taken, but nobody's.
            row("c", user_id="ann", amplitude_id=3),
            row("d", user_id=None, device_id=None, amplitude_id=4),
        ],
    )
    replay(lake, ledger, [row("e", user_id="ann", amplitude_id=5), row("f", user_id="ann", amplitude_id=1)])
    assert ids(lake, "users", "user_id") == [("ann", 1)]
    assert ids(lake, "devices", "device_id") == [("tablet", 2), (None, 3), (None, 4), (None, 5)]
    imported = [
        stage(lake, "f1", ["i"], user=lambda _: "ann"),
        stage(lake, "f2", ["j"], user=lambda _: None, device="tablet"),
    ]
    load(lake, ledger, LoadRequest(PROJECT, "s", imported))
    found = dict(rows_of(lake, "$insert_id", "amplitude_id"))
    assert (found["i"], found["j"]) == (1, 2)


@pytest.mark.parametrize(
    "brought",
    [
        {"user_id": "jack@example.com"},
        {"user_id": None},
        {"user_id": None, "device_id": None},
        {"user_id": "ann"},
    ],
    ids=["user", "anonymous device", "nobody", "second ID of a user"],
)
def test_the_counter_never_gives_an_id_that_a_replay_brought(lake, ledger, brought):
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f", ["i"], user=lambda _: "ann")]))
    [(last,)] = rows_of(lake, "amplitude_id")
    ahead = [row(f"r{n}", amplitude_id=last + n, **brought) for n in range(1, 6)]
    assert replay(lake, ledger, ahead) == Counts(read=5, loaded=5)
    new = [f"user-{n}" for n in range(4)]
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "g", new, user=str)]))
    given = [id for (kind, id) in rows_of(lake, "event_type", "amplitude_id") if kind == "tested"]
    assert not {last + n for n in range(1, 6)} & set(given)
    assert len(set(given)) == 5


def test_the_counter_soon_passes_many_ids_that_a_replay_brought(lake, ledger, monkeypatch):
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "f", ["i"], user=lambda _: "ann")]))
    [(last,)] = rows_of(lake, "amplitude_id")
    replay(lake, ledger, [row(f"r{n}", user_id=f"user-{n}", amplitude_id=last + n) for n in range(1, 1001)])
    blocks = []

    def counted(*given, **how):
        blocks.append(take_block(*given, **how))
        return blocks[-1]

    monkeypatch.setattr(decision, "take_block", counted)
    load(lake, ledger, LoadRequest(PROJECT, "s", [stage(lake, "g", ["j"], user=lambda _: "bob")]))
    [given] = [id for (user, id) in rows_of(lake, "user_id", "amplitude_id") if user == "bob"]
    assert given > last + 1000
    assert len(blocks) == 11


def test_a_closed_hour_takes_replayed_rows_and_is_changed(lake, ledger):
    replay(lake, ledger, [row("a")])
    close_until(lake, ledger, PROJECT, hour_of(ledger.now()), wait_seconds=0)
    before = hour_fingerprint(ledger, PROJECT, HOUR)
    replay(lake, ledger, [row("b"), row("c", server_upload_time=FIVE + timedelta(hours=1))])
    after = hour_fingerprint(ledger, PROJECT, HOUR)
    assert (before.rows, after.rows) == (1, 2)
    assert hour_fingerprint(ledger, PROJECT, HOUR + timedelta(hours=1)).rows == 1
    # What is there already changes nothing.
    assert replay(lake, ledger, [row("b")]).duplicate == 1
    assert hour_fingerprint(ledger, PROJECT, HOUR) == after
