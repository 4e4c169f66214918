"""What the engine reads of the lake's files: every row once, whole files and row groups left out."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from cohort_events import NOON, add_events
from fresh import fresh_lake

from sluice.cohorts import scan
from sluice.cohorts.tables import Events
from sluice.lake import data_files
from sluice.lake.schema import TIMESTAMP

AS_OF = NOON + timedelta(days=1)


@pytest.fixture(scope="module")
def large_lake(tmp_path_factory):
    """Three files of 500 rows, one second after the other, in row groups of 200."""
    lake = fresh_lake(tmp_path_factory.mktemp("large") / "lake")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(data_files, "ROW_GROUP_ROWS", 200)
        for day in (2, 1, 0):
            first = NOON - timedelta(days=day)
            rows = (
                {"amplitude_id": n, "server_upload_time": first + timedelta(seconds=n)} for n in range(500)
            )
            add_events(lake, rows)
    return lake


@pytest.fixture
def events(large_lake, monkeypatch):
    monkeypatch.setattr(scan, "_PIECE_BYTES", 1)
    return Events.open(large_lake, [187520], AS_OF)


def test_every_row_comes_once_whatever_is_read_ahead(events):
    rows = events.files.scanner(columns=["amplitude_id", "app"]).to_reader().read_all()
    assert sorted(rows["amplitude_id"].to_pylist()) == sorted(3 * list(range(500)))
    assert rows["app"].unique().to_pylist() == [187520]
    assert (events.files.reads.files, list(events.files.reads.columns)) == (3, ["amplitude_id", "app"])


def test_row_groups_outside_of_the_time_are_not_read(events, monkeypatch):
    read = []
    wrapped = scan.Scan._read

    def counted(self, piece):
        read.extend(group.id for group in piece.row_groups)
        return wrapped(self, piece)

    monkeypatch.setattr(scan.Scan, "_read", counted)
    since = pads.field("server_upload_time") >= pa.scalar(NOON + timedelta(seconds=450), TIMESTAMP)
    rows = events.files.scanner(columns=["amplitude_id"], filter=since).to_reader().read_all()
    assert sorted(rows["amplitude_id"].to_pylist()) == list(range(450, 500))
    assert read == [2]
    assert events.files.reads.files == 1


def test_an_engine_that_has_enough_leaves_the_rest(events, monkeypatch):
    read = []
    wrapped = scan.Scan._read
    monkeypatch.setattr(scan.Scan, "_read", lambda self, piece: read.append(piece) or wrapped(self, piece))
    reader = events.files.scanner(columns=["amplitude_id"]).to_reader()
    assert reader.read_next_batch().num_rows == 200
    reader.close()
    assert len(read) <= 1 + scan._PIECES_AHEAD
