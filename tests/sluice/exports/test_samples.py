"""The sample of an hour's lines: bounded, the same for the same content, and gone when nobody needs it."""

import os
import time
from datetime import UTC, datetime

import numpy as np
import pytest
from fresh import fresh_lake, fresh_ledger
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.exports.lines import Lines
from sluice.exports.samples import (
    FOLDER,
    LineSample,
    read_sample,
    remove_left_samples,
    remove_sample,
    write_sample,
)
from sluice.exports.staged import Content
from sluice.lake import Fingerprint
from sluice.ledger import exported
from sluice.ledger.exported import HourId


def lines_of(start, count):
    texts = [f"{n}\n".encode() for n in range(start, start + count)]
    offsets = np.cumsum([0, *map(len, texts)])
    return Lines(memoryview(b"".join(texts)), offsets)


def content(rows, digest="d"):
    return Content(Fingerprint(rows, digest), 1)


def taken(sample, cuts):
    start = 0
    for count in cuts:
        sample.take(lines_of(start, count))
        start += count
    return [int(line) for line in sample.lines]


@settings(deadline=None)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=12),
    most=st.integers(1, 80),
    known=st.booleans(),
)
def test_it_is_bounded_and_a_function_of_the_content_not_of_the_batches(cuts, most, known):
    rows = sum(cuts)
    total = rows if known else None
    found = taken(LineSample(content(rows), total, most), cuts)
    assert found == taken(LineSample(content(rows), total, most), [rows])
    assert found == sorted(set(found))
    assert len(found) <= most
    assert set(found) <= set(range(rows))
    if known:
        assert len(found) == min(most, rows)
    elif rows > most:
        assert len(found) >= most / 4


def test_it_comes_from_every_part_of_the_hour_and_depends_on_the_content():
    found = taken(LineSample(content(1000), 1000, 10), [100] * 10)
    assert [n // 100 for n in found] == list(range(10))
    assert found != taken(LineSample(content(1000, "other"), 1000, 10), [1000])


def test_what_a_filter_lets_through_never_fills_the_memory():
    sample = LineSample(content(10_000), None, 10)
    for n in range(100):
        sample.take(lines_of(n * 100, 100))
        assert len(sample._taken) <= 20 + 10


@pytest.fixture
def lake(tmp_path):
    lake = fresh_lake(tmp_path / "lake")
    return lake


def test_it_is_kept_beside_the_lake_until_it_is_removed(lake):
    lines = [b'{"a":1}\n', '{"b":"Zürich\\n"}\n'.encode()]
    path = write_sample(lake, "flights", "staging", lines)
    assert path == f"{FOLDER}/flights/staging.json.gz"
    assert read_sample(lake, path) == lines
    remove_sample(lake, path)
    remove_sample(lake, path)
    remove_sample(lake, None)
    with pytest.raises(FileNotFoundError):
        read_sample(lake, path)


def test_clean_up_takes_old_samples_that_no_staging_names(lake, tmp_path):
    ledger = fresh_ledger(tmp_path / "ledger.db")
    assert remove_left_samples(lake, ledger, "flights") == 0
    named, left, young = (write_sample(lake, "flights", name, []) for name in ("named", "left", "young"))
    id = HourId("flights", 187520, datetime(2013, 1, 2, 12, tzinfo=UTC))
    exported.stage(ledger, exported.claim(ledger, id, "run", 60), {"run": "run", "sample": named})
    old = time.time() - 3 * 86_400
    for path in (named, left):
        os.utime(tmp_path / "lake" / path, (old, old))
    assert remove_left_samples(lake, ledger, "flights") == 1
    assert sorted(file.name for file in (tmp_path / "lake" / FOLDER / "flights").iterdir()) == [
        "named.json.gz",
        "young.json.gz",
    ]
    assert young.endswith("young.json.gz")
