"""The gate of the exported hour, on SeaweedFS with a real lake: bad data stop before they are visible."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest
from backfilling import backfill, done, plan, states
from exporting import HOUR, PROJECT, Killed, Template
from gated_export import access, change_rows, discard, failed, gate, release, samples, with_values
from gates import end_time
from sqlalchemy import delete

from sluice.exports import gate as gate_module
from sluice.exports import hour as hour_module
from sluice.exports.bucket import Bucket
from sluice.exports.errors import ContentMismatch, LakeFileError
from sluice.exports.gate import discard_held, expire_held
from sluice.exports.hour_lines import HourLines
from sluice.exports.left_open import abort_left_open
from sluice.exports.lines import LineEncoder
from sluice.exports.ranges import HourRange
from sluice.ledger import quality, tables
from sluice.ledger.exported import HourHeld
from sluice.ledger.quality import GateDecided
from sluice.quality.gate import Override, QualityStopped

NEXT = HOUR + timedelta(hours=1)
IDS = [f"event-{n:02}" for n in range(20)]
NOT_NULL, UNIQUE = "expect_column_values_to_not_be_null", "expect_column_values_to_be_unique"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return Template.make(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def make(empty, s3, bucket, tmp_path):
    with empty.maker(s3, bucket, tmp_path / "made") as make:
        yield make


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """20 events in the hour."""
    return Template.make(tmp_path_factory.mktemp("loaded"), lambda made: made.add_events(IDS), start=HOUR)


@pytest.fixture
def destination(loaded, s3, bucket, tmp_path):
    with loaded.copy(s3, bucket, tmp_path / "copy") as destination:
        yield destination


def actions(outcomes):
    return [(outcome.hour.hour, outcome.action) for outcome in outcomes]


def stop(destination, run="run", kind="backfill"):
    """Export an hour whose gate stops it, and see that nothing of it is visible."""
    before = destination.listing()
    destination.exporter(run, kind).export(HOUR)
    (found,) = destination.check(run)
    assert found.state == "held"
    assert destination.listing() == before
    assert destination.record().state == "staged"
    outcomes = destination.exporter(run, kind).publish(HOUR)
    assert actions(outcomes) == [(12, "stopped")]
    assert "sluice quality" in outcomes[0].note
    assert destination.listing() == before
    return found


def first(value):
    return lambda values: [value, *values[1:]]


# --- Each kind of bad data ---


@pytest.mark.parametrize("column", ["amplitude_id", "uuid"])
def test_nulls_in_ids_stop_the_hour(destination, column):
    change_rows(destination, with_values(column, first(None)))
    found = stop(destination)
    assert column in failed(found)[NOT_NULL]
    (result,) = [one for one in found.results if not one["success"] and one["method"] == "exact"]
    assert (result["checked"], result["unexpected"]) == (20, 1)


def test_doubled_uuids_stop_the_hour(destination):
    change_rows(destination, with_values("uuid", lambda uuids: [uuids[1], *uuids[1:]]))
    found = stop(destination)
    assert failed(found) == {UNIQUE: ["uuid"]}
    (result,) = [one for one in found.results if not one["success"]]
    assert (result["unexpected"], result["values"]) == (2, [])


def test_a_broken_form_of_times_stops_the_hour(destination, monkeypatch):
    whole = LineEncoder._timestamps

    def without_fractions(self, column):
        import pyarrow.compute as pc

        return pc.replace_substring(whole(self, column), ".000000", "")

    monkeypatch.setattr(LineEncoder, "_timestamps", without_fractions)
    found = stop(destination)
    assert list(failed(found)) == ["expect_line_times_to_be_in_form"]
    (result,) = [one for one in found.results if not one["success"]]
    assert result["unexpected"] == 20
    assert "server_upload_time in 20 lines" in result["observed"]


def test_a_missing_key_stops_the_hour(destination, monkeypatch):
    whole = LineEncoder.__init__

    def forgetful(self, dialect="observed"):
        whole(self, dialect)
        self._keys = tuple(key for key in self._keys if key != "city")

    monkeypatch.setattr(LineEncoder, "__init__", forgetful)
    found = stop(destination)
    assert list(failed(found)) == ["expect_line_keys_to_be_whole"]
    assert [one["observed"] for one in found.results if not one["success"]] == ["city in 20 lines"]


def test_another_type_of_a_property_stops_the_hour_where_one_is_expected(make):
    price = {"column": "event_properties.price", "type_list": ["int", "float"]}
    destination = make(
        quality={"expectations": [{"type": "expect_column_values_to_be_in_type_list", "kwargs": price}]}
    )
    destination.add_events(IDS)
    numbers = with_values("event_properties", lambda values: ['{"price": 5}' for _ in values])
    change_rows(destination, numbers)
    assert actions(destination.run("numbers")) == [(12, "published")]
    destination.add_events(["more"])
    change_rows(
        destination, with_values("event_properties", lambda values: ['{"price": "5"}' for _ in values])
    )
    before = destination.listing()
    destination.exporter("texts").export(HOUR)
    (found,) = destination.check("texts")
    assert failed(found) == {"expect_column_values_to_be_in_type_list": ["event_properties.price"]}
    assert found.state == "held"
    with pytest.raises(QualityStopped):
        destination.publish("texts")
    # What was published before stays whole.
    assert destination.listing() == before
    change_rows(destination, numbers)
    assert actions(destination.run("texts")) == [(12, "published")]
    destination.assert_consistent()


def test_properties_that_are_a_text_stop_the_hour_and_do_not_break_its_gate(make):
    carrier = {"column": "event_properties.carrier", "regex": "^[A-Z]{2}$"}
    asked = [{"type": "expect_column_values_to_match_regex", "kwargs": carrier}]
    destination = make(quality={"expectations": asked})
    destination.add_events(IDS)
    change_rows(destination, with_values("event_properties", lambda values: ['"n/a"', *values[1:]]))
    assert list(failed(stop(destination))) == ["expect_line_dictionaries_to_be_objects"]


def test_half_the_rows_gone_before_the_export_are_no_export(destination):
    change_rows(destination, lambda rows: rows.slice(0, 10))
    with pytest.raises(ContentMismatch, match="10 events"):
        destination.exporter("run").export(HOUR)
    assert (destination.object_keys(), destination.open_uploads()) == ([], [])


def test_half_the_rows_gone_since_they_were_written_stop_the_hour(destination):
    destination.exporter("run").export(HOUR)
    change_rows(destination, lambda rows: rows.slice(0, 10))
    (found,) = destination.check("run")
    assert found.state == "held"
    assert failed(found) == {"expect_reconciliation": [None, None]}
    assert destination.object_keys() == []


@pytest.mark.parametrize("chunk", [False, True])
def test_an_hour_that_only_the_ledger_takes_for_empty_is_stopped(destination, chunk):
    destination.add_events(["before"], HOUR - timedelta(hours=1))
    destination.add_events(["after"], NEXT)
    with destination.ledger.begin() as connection:
        connection.execute(delete(tables.hours).where(tables.hours.c.hour == HOUR))
    if chunk:
        with pytest.raises(QualityStopped, match="2013-01-02T12"):
            backfill(destination, "run", HourRange(HOUR - timedelta(hours=1), NEXT))
        found = gate(destination, "run")
    else:
        found = stop(destination)
    observed = [one["observed"] for one in found.results if one["method"] == "reconciliation"]
    assert observed == [
        "0 lines in the hour's files, 20 events in the lake under the filter",
        "20 events of the hour in the lake, 0 in the ledger",
    ]


def test_lines_that_never_reach_the_files_stop_the_hour(make, monkeypatch):
    """They count as kept back by the filter: only the lake, asked again, knows better."""
    destination = make(filter={"where": [{"column": "$insert_id", "in": IDS}]})
    destination.add_events([*IDS, "another"])
    whole = HourLines.lines

    def half(self, project, hour, content, kept_back):
        for lines, times in whole(self, project, hour, content, kept_back):
            count = len(lines) // 2
            kept_back.append(len(lines) - count)
            end = int(lines.offsets[count])
            yield type(lines)(lines.data[:end], lines.offsets[: count + 1]), times.slice(0, count)

    monkeypatch.setattr(HourLines, "lines", half)
    found = stop(destination)
    (result,) = [one for one in found.results if not one["success"]]
    assert result["method"] == "reconciliation"
    assert result["observed"] == "10 lines in the hour's files, 20 events in the lake under the filter"
    monkeypatch.undo()
    assert actions(destination.run("run")) == [(12, "published")]
    destination.assert_consistent()


def test_a_tenth_of_the_usual_volume_warns(make):
    destination = make()
    for week in (1, 2, 3):
        hour = HOUR - timedelta(weeks=week)
        destination.add_events([f"{week}-{n}" for n in range(100)], hour)
        destination.run(f"week-{week}", hour=hour)
    destination.add_events([f"now-{n}" for n in range(10)])
    assert actions(destination.run("now")) == [(12, "published")]
    found = gate(destination, "now")
    assert (found.state, found.warnings) == ("warned", 1)
    assert failed(found) == {"expect_row_count_like_weeks_before": [None]}


def test_a_lake_that_cannot_be_read_fails_the_check_and_holds_nothing(destination):
    destination.exporter("run").export(HOUR)
    for path in Path(destination.lake.uri, "events").rglob("*.parquet"):
        path.unlink()
    with pytest.raises(LakeFileError):
        destination.check("run")
    assert quality.of_run(destination.ledger, "run") == []


def test_a_load_between_the_tasks_is_left_to_the_next_run(make):
    destination = make(start=HOUR, reexport_changed=True)
    destination.add_events(IDS)
    destination.run("first", "scheduled")
    before = destination.listing()
    exporter = destination.exporter("again", "scheduled")
    assert actions(exporter.export(HOUR)) == [(12, "unchanged")]
    assert destination.check("again") == []
    destination.add_events(["late"])
    (outcome,) = exporter.publish(HOUR)
    assert (outcome.action, outcome.rows) == ("left", 20)
    assert "a later run" in outcome.note
    assert (destination.listing(), destination.open_uploads()) == (before, [])
    assert actions(destination.run("next", "scheduled", NEXT)) == [(13, "published"), (12, "published")]
    assert sorted(destination.all_ids()) == sorted([*IDS, "late"])


# --- What a person decides ---


def test_a_released_hour_is_published_by_its_run(destination):
    change_rows(destination, with_values("amplitude_id", first(None)))
    stop(destination)
    uploads = destination.open_uploads()
    release(destination, "run")
    # Until its run goes on, others leave it alone, and its uploads.
    assert actions(destination.exporter("other").export(HOUR)) == [(12, "waiting")]
    assert destination.open_uploads() == uploads
    assert actions(destination.publish("run")) == [(12, "published")]
    destination.assert_consistent()
    assert samples(destination) == []
    with pytest.raises(GateDecided):
        discard(destination, "run")


@pytest.mark.parametrize("same", [True, False])
def test_a_release_is_for_the_files_that_were_looked_at(destination, monkeypatch, same):
    """Uploads that are gone are made again: the same events give the same files, a faulty writer does not."""
    change_rows(destination, with_values("amplitude_id", first(None)))
    stop(destination)
    release(destination, "run")
    bucket = destination.scripted()
    for upload in list(bucket.open_uploads(PROJECT, [HOUR.date()])):
        bucket.abort(upload.key, upload.upload_id)
    if not same:
        whole = LineEncoder._timestamps

        def shifted(self, column):
            import pyarrow.compute as pc

            return pc.replace_substring(whole(self, column), ".000000", ".000001")

        monkeypatch.setattr(LineEncoder, "_timestamps", shifted)
    (outcome,) = destination.exporter("run").publish(HOUR)
    if same:
        assert outcome.action == "published"
        destination.assert_consistent()
    else:
        assert outcome.action == "stopped"
        assert "no quality gate as it is now" in outcome.note
        assert destination.object_keys() == []


def test_a_discarded_hour_is_exported_again_once_it_is_mended(destination):
    before = {}
    change_rows(destination, with_values("amplitude_id", lambda ids: before.setdefault("ids", ids)))
    change_rows(destination, with_values("amplitude_id", first(None)))
    stop(destination)
    discard(destination, "run")
    assert (destination.object_keys(), destination.open_uploads(), samples(destination)) == ([], [], [])
    assert destination.record().staged is None
    discard(destination, "run")
    (outcome,) = destination.exporter("run").publish(HOUR)
    assert outcome.action == "stopped"
    assert "discarded: the data are wrong" in outcome.note
    assert destination.open_uploads() == []
    change_rows(destination, with_values("amplitude_id", lambda _: before["ids"]))
    assert actions(destination.run("s", "scheduled", NEXT)) == [(13, "published"), (12, "published")]
    destination.assert_consistent()


def test_the_held_run_itself_may_stage_the_mended_hour_again(destination):
    before = {}
    change_rows(destination, with_values("amplitude_id", lambda ids: before.setdefault("ids", ids)))
    change_rows(destination, with_values("amplitude_id", first(None)))
    stop(destination)
    change_rows(destination, with_values("amplitude_id", lambda _: before["ids"]))
    assert actions(destination.run("run")) == [(12, "published")]
    assert gate(destination, "run").state == "passed"
    destination.assert_consistent()


def test_an_override_lets_the_hour_pass_on_the_record(destination):
    change_rows(destination, with_values("amplitude_id", first(None)))
    destination.exporter("run").export(HOUR)
    (found,) = destination.check("run", Override("somebody", "it is a test"))
    assert (found.state, found.decided_by, found.reason) == ("overridden", "somebody", "it is a test")
    assert actions(destination.exporter("run").publish(HOUR)) == [(12, "published")]


def test_what_nobody_decides_about_expires(destination, caplog):
    change_rows(destination, with_values("amplitude_id", first(None)))
    stop(destination)
    end_time(destination.ledger)
    with caplog.at_level(logging.WARNING):
        destination.exporter("next", "scheduled").export(NEXT)
    assert "has expired" in caplog.text
    assert gate(destination, "run").state == "expired"
    # The next run has taken the hour itself, and its gate stops it as well.
    assert {one.unit: one.state for one in destination.check("next")} == {
        f"hour 2013-01-02T13 of project {PROJECT}": "passed",
        f"hour 2013-01-02T12 of project {PROJECT}": "held",
    }


# --- Nobody else touches it ---


def test_a_held_hour_is_passed_by_and_the_others_are_published(destination):
    destination.add_events(["fine"], NEXT)
    change_rows(
        destination,
        with_values("event_type", lambda values: [None, *values[1:]] if len(values) == 20 else values),
    )
    outcomes = destination.exporter("s", "scheduled").export(NEXT)
    assert actions(outcomes) == [(13, "staged"), (12, "staged")]
    assert [found.state for found in destination.check("s")] == ["held", "passed"]
    with pytest.raises(QualityStopped, match="2013-01-02T12"):
        destination.publish("s", "scheduled", NEXT)
    assert [key.rpartition("_")[2] for key in destination.object_keys()] == ["13#0.json.gz", "complete"]
    uploads = destination.open_uploads()
    later = NEXT + timedelta(hours=1)
    destination.expire_claims()
    assert actions(destination.run("t", "scheduled", later)) == [(14, "published")]
    caught_up = destination.exporter("t2", "scheduled").export(later)
    assert actions(caught_up) == [(14, "unchanged"), (12, "waiting")]
    assert "sluice quality show" in caught_up[1].note
    hours = HourRange(HOUR, later)
    found = plan(destination, hours)
    assert states(found) == {0: "held by a quality gate", 1: "unchanged", 2: "unchanged"}
    assert "sluice quality show" in " ".join(found.notes)
    assert done(backfill(destination, "backfill", hours)) == {}
    assert abort_left_open(destination.config, destination.ledger, destination.scripted(), timedelta(0)) == 0
    assert destination.open_uploads() == uploads
    release(destination, "s")
    assert actions(destination.publish("s", "scheduled", NEXT)) == [(13, "unchanged"), (12, "published")]
    destination.assert_consistent()


def test_an_hour_that_another_run_took_while_it_was_checked_is_not_held(destination, monkeypatch):
    change_rows(destination, with_values("amplitude_id", first(None)))
    destination.exporter("slow").export(HOUR)
    whole = gate_module.pass_gate

    def meanwhile(*args, **kwargs):
        found = whole(*args, **kwargs)
        monkeypatch.undo()
        # The lease is over, and the other had looked for gates before this one was recorded.
        destination.expire_claims()
        from sluice.ledger import exported

        exported.claim(destination.ledger, destination.id(), "quick", 600)
        return found

    monkeypatch.setattr(gate_module, "pass_gate", meanwhile)
    (found,) = destination.check("slow")
    assert found.state == "discarded"
    assert actions(destination.exporter("quick").export(HOUR)) == [(12, "staged")]


@pytest.mark.parametrize("again", ["check", "another run that passes it by"])
def test_a_check_that_hung_does_not_discard_what_a_newer_one_holds(destination, monkeypatch, again):
    from sluice.ledger import exported

    change_rows(destination, with_values("amplitude_id", first(None)))
    destination.exporter("run").export(HOUR)
    whole = gate_module.hold

    def late(*args):
        monkeypatch.undo()
        if again == "check":
            assert [found.state for found in destination.check("run")] == ["held"]
        else:
            destination.expire_claims()
            other = exported.claim(destination.ledger, destination.id(), "other", 600)
            exported.release(destination.ledger, other)
        return whole(*args)

    monkeypatch.setattr(gate_module, "hold", late)
    uploads = destination.open_uploads()
    assert [found.state for found in destination.check("run")] == ["held"]
    assert gate(destination, "run").state == "held"
    assert destination.open_uploads() == uploads
    release(destination, "run")
    assert actions(destination.publish("run")) == [(12, "published")]
    destination.assert_consistent()


def test_a_discard_leaves_alone_what_a_run_works_on_or_has_staged_anew(destination):
    from sluice.ledger import exported

    change_rows(destination, with_values("amplitude_id", first(None)))
    found = stop(destination)
    claim = exported.claim(destination.ledger, destination.id(), "run", 600)
    uploads = destination.open_uploads()
    with pytest.raises(HourHeld):
        discard(destination, "run")
    exported.release(destination.ledger, claim)
    # The run stages other content before the discard is finished.
    destination.add_events(["more"])
    destination.exporter("run").export(HOUR)
    destination.check("run")
    assert gate(destination, "run").state == "held"
    discard_held(access(destination), found)
    assert len(destination.open_uploads()) == len(uploads)
    assert destination.record().staged is not None


def test_a_run_of_many_hours_asks_once_for_what_is_the_same_for_all(destination, monkeypatch):
    hours = [HOUR + n * timedelta(hours=1) for n in range(3)]
    for hour in hours[1:]:
        destination.add_events([f"event of {hour}"], hour)
    change_rows(destination, with_values("amplitude_id", first(None)))
    calls = []
    for name in ("expire_held", "require_open"):
        whole = getattr(hour_module, name)
        monkeypatch.setattr(hour_module, name, lambda *a, n=name, w=whole, **k: calls.append(n) or w(*a, **k))
    exporter = destination.exporter("run", "manual")
    for hour in hours:
        exporter.export(hour)
    assert calls == ["expire_held"]
    destination.check("run")
    exporter = destination.exporter("run", "manual")
    outcomes = [actions(exporter.publish(hour)) for hour in hours]
    assert outcomes == [
        [(12, "stopped"), (13, "stopped"), (14, "stopped")],
        [(13, "stopped")],
        [(14, "stopped")],
    ]
    assert calls == ["expire_held", *["require_open"] * 3]


# --- Killed in between ---


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("finish", ["discard", "expire"])
def test_a_discard_that_was_killed_is_finished_by_whoever_comes_next(destination, monkeypatch, n, finish):
    change_rows(destination, with_values("amplitude_id", first(None)))
    stop(destination)
    calls = []
    whole = Bucket.abort

    def killed(self, key, upload_id):
        if len(calls) == n:
            raise Killed
        calls.append(key)
        whole(self, key, upload_id)

    monkeypatch.setattr(Bucket, "abort", killed)
    with pytest.raises(Killed):
        discard(destination, "run")
    monkeypatch.undo()
    if finish == "discard":
        discard(destination, "run")
    else:
        # The next run of the destination, whichever it is.
        expire_held(
            destination.config,
            lake=destination.lake,
            ledger=destination.ledger,
            bucket=destination.scripted(),
        )
    assert (destination.open_uploads(), samples(destination)) == ([], [])
    assert destination.record().staged is None
    assert destination.record().claimed_until is None


@pytest.mark.parametrize("where", ["write_report", "record", "renew"])
def test_a_check_that_was_killed_comes_to_the_same_end(destination, monkeypatch, where):
    from sluice.ledger import exported
    from sluice.quality import gate as gates

    change_rows(destination, with_values("amplitude_id", first(None)))
    destination.exporter("run").export(HOUR)
    place = {"write_report": gates, "record": quality, "renew": exported}[where]

    def killed(*args, **kwargs):
        raise Killed

    monkeypatch.setattr(place, where, killed)
    with pytest.raises(Killed):
        destination.check("run")
    monkeypatch.undo()
    with pytest.raises(QualityStopped):
        destination.publish("run")
    assert destination.object_keys() == []
    assert gate(destination, "run").state == "held"
    release(destination, "run")
    assert actions(destination.publish("run")) == [(12, "published")]
    destination.assert_consistent()


# --- Chunks of a backfill ---


def test_a_chunk_holds_what_its_gates_stop_and_publishes_the_rest(destination):
    hours = HourRange(HOUR, HOUR + timedelta(hours=2))
    destination.add_events(["b"], NEXT)
    destination.add_events(["c"], NEXT + timedelta(hours=1))
    change_rows(
        destination,
        with_values("amplitude_id", lambda values: [None, *values[1:]] if len(values) == 20 else values),
    )
    with pytest.raises(QualityStopped, match="2013-01-02T12"):
        backfill(destination, "backfill", hours)
    assert gate(destination, "backfill").state == "held"
    assert failed(gate(destination, "backfill")) == {NOT_NULL: ["amplitude_id"]}
    for n in (1, 2):
        assert destination.record(HOUR + n * timedelta(hours=1)).state == "published"
    assert destination.record().state == "staged"
    assert [key for key in destination.object_keys() if "_12" in key] == []
    # Those that passed share a record.
    units = {one.unit: one.rows for one in quality.of_run(destination.ledger, "backfill")}
    assert units == {
        f"hour 2013-01-02T12 of project {PROJECT}": 20,
        f"2 hours from 2013-01-02T13 to 2013-01-02T14 of project {PROJECT}": 2,
    }
    assert states(plan(destination, hours))[0] == "held by a quality gate"
    assert done(backfill(destination, "another", hours)) == {}
    release(destination, "backfill")
    assert done(backfill(destination, "backfill", hours)) == {"published": 1}
    destination.assert_consistent()


def test_a_chunk_exports_a_mended_hour_and_its_gate_forgets(destination):
    before = {}
    hours = HourRange(HOUR, HOUR)
    change_rows(destination, with_values("uuid", lambda ids: before.setdefault("ids", ids)))
    change_rows(destination, with_values("uuid", lambda uuids: [uuids[1], *uuids[1:]]))
    with pytest.raises(QualityStopped):
        backfill(destination, "backfill", hours)
    change_rows(destination, with_values("uuid", lambda _: before["ids"]))
    assert done(backfill(destination, "backfill", hours)) == {"published": 1}
    assert gate(destination, "backfill").state == "passed"
    destination.assert_consistent()


def test_a_chunk_asks_great_expectations_for_all_its_hours_at_once(make, monkeypatch):
    asked = {"column": "$insert_id", "regex": "^good"}
    destination = make(
        quality={"expectations": [{"type": "expect_column_values_to_match_regex", "kwargs": asked}]}
    )
    for n, name in enumerate(["good", "bad", "good"]):
        destination.add_events([f"{name}-{n}-{i}" for i in range(5)], HOUR + n * timedelta(hours=1))
    from sluice.quality import evaluate

    calls = []
    whole = evaluate._sampled
    monkeypatch.setattr(evaluate, "_sampled", lambda *args: calls.append(1) or whole(*args))
    with pytest.raises(QualityStopped, match="2013-01-02T13"):
        backfill(destination, "run", HourRange(HOUR, HOUR + timedelta(hours=2)))
    assert len(calls) == 1
    assert [destination.record(HOUR + n * timedelta(hours=1)).state for n in range(3)] == [
        "published",
        "staged",
        "published",
    ]
