from __future__ import annotations

import gzip
import hashlib
import json
import uuid

import numpy as np
import pyarrow as pa
import pytest

from sluice.exports.readback import read_back
from sluice.exports.uuids import pack

IDS = [str(uuid.uuid5(uuid.NAMESPACE_URL, str(n))) for n in range(3_000)]
TEXT = b"".join(
    json.dumps({"event_properties": {"uuid": 1, "text": 'é\n"' * 90}, "uuid": id}).encode() + b"\n"
    for id in IDS
)


def read(*blocks):
    taken = []
    content = read_back(blocks, taken.append)
    return content, np.concatenate(taken) if taken else np.empty((0, 2), np.uint64)


@pytest.mark.parametrize("size", [101, 4096, 1 << 20])
def test_every_event_is_read_however_the_file_is_cut(size):
    # Two members one after the other are one text.
    body = gzip.compress(TEXT[:700_001]) + gzip.compress(TEXT[700_001:])
    content, uuids = read(*(body[n : n + size] for n in range(0, len(body), size)))
    assert (content.rows, content.unreadable, content.damage) == (len(IDS), 0, "")
    assert content.bytes == len(body)
    assert content.sha256 == hashlib.sha256(body).hexdigest()
    assert (uuids == pack(pa.array(IDS))).all()


def test_lines_that_are_no_events_are_counted_and_the_others_read():
    bad = [
        b"nonsense",
        b"[1]",
        b'{"uuid":null}',
        b'{"uuid":7}',
        b'{"uuid":"x"}{"uuid":"y"}',
        b'{"a":1}',
        b"[" * 9_999,
    ]
    lines = [*TEXT.splitlines()[:5], *bad, b"", TEXT.splitlines()[5]]
    content, uuids = read(gzip.compress(b"\n".join(lines)))
    assert (content.rows, content.unreadable, content.damage) == (6, len(bad), "")
    assert (uuids == pack(pa.array(IDS[:6]))).all()


@pytest.mark.parametrize(
    ("body", "damage"),
    [
        (gzip.compress(TEXT)[:-9], "end too early"),
        (gzip.compress(TEXT) + b"more, which is no gzip data", "are damaged"),
        (TEXT, "are damaged"),
        (b"", "is empty"),
    ],
    ids=["truncated", "followed by garbage", "not compressed", "empty"],
)
def test_damage_is_a_result(body, damage):
    content, _ = read(*([body] if body else []))
    assert damage in content.damage
    assert content.unreadable >= 1
    assert content.sha256 == hashlib.sha256(body).hexdigest()


def test_a_flipped_bit_is_found():
    body = bytearray(gzip.compress(TEXT))
    body[-6] ^= 1
    assert "are damaged" in read(bytes(body))[0].damage


def test_an_empty_member_is_a_file_without_events():
    assert read(gzip.compress(b""))[0].rows == 0
    assert read(gzip.compress(b""))[0].damage == ""
