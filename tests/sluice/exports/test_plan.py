"""What a run does with an hour, for every state in which it may find it (decisions E-11, E-14)."""

from datetime import UTC, datetime, timedelta

import pytest

from sluice.exports.bucket import ObjectHead, StoredObject
from sluice.exports.keys import parse_key
from sluice.exports.plan import HourState, HourView, Wanted, as_listed, catch_up, hour_state, writes
from sluice.lake import Fingerprint
from sluice.ledger.exported import HourRecord, PublishedFile

HOUR = datetime(2020, 1, 25, 17, tzinfo=UTC)
DATA, MARKER = "1/1_2020-01-25_17#0.json.gz", "1/1_2020-01-25_17_complete"
CONTENT = Fingerprint(3, "a" * 32)
WANTED = Wanted(CONTENT, "filter", "config", MARKER)
FILE = PublishedFile(DATA, 0, 3, 100, 900, "sha", '"data"', HOUR, HOUR)


def record(**changed):
    facts = dict.fromkeys(HourRecord.__dataclass_fields__)
    facts |= {
        "state": "published",
        "token": 1,
        "content_rows": 3,
        "content_digest": "a" * 32,
        "filter_hash": "filter",
        "config_hash": "config",
        "manifest_hash": "manifest",
    }
    return HourRecord(**facts | changed)


def view(*keys, manifest="manifest", etag='"data"', size=100):
    objects = tuple(StoredObject(key, etag, size, HOUR, parse_key("", key)) for key in keys)
    markers = {
        key: ObjectHead('"e"', {"sluice-manifest": manifest} if manifest else {})
        for key in keys
        if key.endswith("_complete")
    }
    return HourView(objects, markers)


CASES = [
    pytest.param(None, view(), HourState.MISSING, id="nothing-there"),
    pytest.param(record(), view(DATA, MARKER), HourState.UNCHANGED, id="as-recorded"),
    pytest.param(record(content_rows=2), view(DATA, MARKER), HourState.CHANGED, id="more-rows"),
    pytest.param(record(content_digest="b" * 32), view(DATA, MARKER), HourState.CHANGED, id="other-rows"),
    pytest.param(record(filter_hash="other"), view(DATA, MARKER), HourState.RESHAPED, id="other-filter"),
    pytest.param(record(config_hash="other"), view(DATA, MARKER), HourState.RESHAPED, id="other-form"),
    pytest.param(record(), view(DATA), HourState.BROKEN, id="marker-gone"),
    pytest.param(record(), view(MARKER), HourState.BROKEN, id="file-gone"),
    pytest.param(record(), view(), HourState.BROKEN, id="all-gone"),
    pytest.param(record(), view(DATA, MARKER, etag='"x"'), HourState.BROKEN, id="file-overwritten"),
    pytest.param(record(), view(DATA, MARKER, size=99), HourState.BROKEN, id="file-of-another-size"),
    pytest.param(record(), view(DATA, DATA.replace("#0", "#1"), MARKER), HourState.BROKEN, id="stray-file"),
    pytest.param(None, view(DATA), HourState.BROKEN, id="unknown-files-without-a-marker"),
    pytest.param(None, view(MARKER), HourState.FOREIGN, id="unknown-marker"),
    pytest.param(
        record(), view(DATA, MARKER, manifest="x"), HourState.FOREIGN, id="marker-of-another-writer"
    ),
    pytest.param(
        record(), view(DATA, MARKER, manifest=None), HourState.FOREIGN, id="marker-without-metadata"
    ),
    pytest.param(
        record(state="claimed", manifest_hash=None), view(), HourState.MISSING, id="never-published"
    ),
    pytest.param(record(state="unpublished"), view(DATA), HourState.BROKEN, id="publication-interrupted"),
    pytest.param(
        record(state="unpublished", manifest_hash="old", staged={"manifest": "manifest"}),
        view(DATA, MARKER),
        HourState.BROKEN,
        id="marker-completed-but-not-recorded",
    ),
]


@pytest.mark.parametrize(("known", "there", "state"), CASES)
def test_state_of_an_hour(known, there, state):
    assert hour_state(known, [FILE], there, WANTED) is state


def test_without_markers_the_record_decides():
    wanted = Wanted(CONTENT, "filter", "config", None)
    assert hour_state(record(), [FILE], view(DATA), wanted) is HourState.UNCHANGED
    assert hour_state(record(), [FILE], view(), wanted) is HourState.BROKEN
    assert hour_state(record(config_hash="with"), [FILE], view(DATA, MARKER), wanted) is HourState.RESHAPED


@pytest.mark.parametrize(
    ("state", "scheduled", "following", "backfill"),
    [
        (HourState.MISSING, True, True, True),
        (HourState.UNCHANGED, False, False, False),
        (HourState.CHANGED, False, True, True),
        (HourState.RESHAPED, False, False, True),
        (HourState.BROKEN, True, True, True),
        (HourState.FOREIGN, False, False, True),
    ],
)
def test_who_writes_what(state, scheduled, following, backfill):
    assert writes(state, "scheduled", reexport_changed=False) is scheduled
    assert writes(state, "scheduled", reexport_changed=True) is following
    for kind in ("backfill", "manual"):
        assert writes(state, kind, reexport_changed=False) is backfill


def hours_before(*numbers):
    return [HOUR - timedelta(hours=n) for n in numbers]


def test_catching_up_goes_from_the_oldest_hour_to_the_own_and_leaves_out_what_is_done():
    assert catch_up(HOUR, HOUR - timedelta(days=9), 4, hours_before(3)) == hours_before(4, 2, 1)


def test_catching_up_begins_at_the_start():
    assert catch_up(HOUR, HOUR - timedelta(hours=2), 24, []) == hours_before(2, 1)
    assert catch_up(HOUR, HOUR + timedelta(hours=2), 24, []) == []
    assert catch_up(HOUR, HOUR - timedelta(days=9), 0, []) == []


@pytest.mark.parametrize(
    ("etag", "state"),
    [
        pytest.param('"ours"', HourState.UNCHANGED, id="the-recorded-marker"),
        pytest.param('"other"', HourState.FOREIGN, id="a-marker-put-by-hand"),
    ],
)
def test_the_listing_settles_whose_marker_it_is(etag, state):
    known = record(marker_etag='"ours"')
    objects = [
        StoredObject(DATA, '"data"', 100, HOUR, parse_key("", DATA)),
        StoredObject(MARKER, etag, 0, HOUR, parse_key("", MARKER)),
    ]
    seen = as_listed(known, objects)
    assert seen is not None
    assert hour_state(known, [FILE], seen, WANTED) is state
    unknown = as_listed(None, objects)
    assert unknown is not None
    assert hour_state(None, [], unknown, WANTED) is HourState.FOREIGN


def test_the_listing_does_not_settle_a_publication_that_was_cut_short():
    objects = [StoredObject(MARKER, '"ours"', 0, HOUR, parse_key("", MARKER))]
    assert as_listed(record(marker_etag='"ours"', staged={"manifest": "new"}), objects) is None
    assert as_listed(record(staged={"manifest": "new"}), []) == HourView((), {})
