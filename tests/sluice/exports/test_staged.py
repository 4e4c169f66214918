"""A staging survives its way through the ledger."""

import json
from datetime import UTC, datetime

from sluice.exports.staged import Content, StagedFile, StagedHour, StagedMarker
from sluice.exports.writer import FileFacts
from sluice.lake import Fingerprint

MOMENT = datetime(2020, 1, 25, 17, 0, 0, 123456, tzinfo=UTC)
FACTS = FileFacts(0, 3, 100, 900, "sha", MOMENT, MOMENT)
FILE = StagedFile("k#0", 0, FACTS, "upload-0", ('"a"', '"b"'))


def staged(**changed):
    return StagedHour(
        **{
            "run": "dag/run",
            "staging": "abc",
            "content": Content(Fingerprint(3, "a" * 32), 7),
            "filter_hash": "f",
            "config_hash": "c",
            "files": (FILE,),
            "marker": StagedMarker("k_complete", "upload-m", '"e"'),
            "seen": {"k#0": '"old"', "k#1": '"surplus"', "k_complete": '"e-1"'},
            "markers": {"k_complete": "other"},
            "seconds": 1.5,
        }
        | changed
    )


def test_json_gives_the_same_staging_back():
    for original in (
        staged(),
        staged(marker=None, files=(), markers={}),
        staged(marker=StagedMarker("k", None, None)),
    ):
        assert StagedHour.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_surplus_is_what_the_plan_saw_beside_the_new_set_and_the_markers():
    assert staged().surplus == {"k#1": '"surplus"'}


def test_the_uploads_are_those_that_wait():
    assert staged().uploads == {"upload-0", "upload-m"}
    assert staged(marker=StagedMarker("k", None, None)).uploads == {"upload-0"}


def test_the_manifest_names_the_files_content():
    other = StagedFile("k#0", 0, FileFacts(0, 3, 100, 900, "other", MOMENT, MOMENT), "upload-9", ('"z"',))
    same = StagedFile("k#0", 0, FACTS, "upload-9", ('"z"',))
    assert staged(files=(same,)).manifest == staged().manifest
    assert staged(files=(other,)).manifest != staged().manifest
