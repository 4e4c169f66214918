"""Splitting and compressing an hour's lines, with parts kept in memory."""

import gzip
import hashlib
import zlib
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.exports.gzip_parts import GzipParts
from sluice.exports.lines import Lines
from sluice.exports.writer import HourWriter

START = datetime(2020, 1, 25, 17, tzinfo=UTC)


class MemorySink:
    def __init__(self):
        self.parts = []
        self.closed = False

    def add(self, part):
        assert not self.closed
        self.parts.append(part)

    def close(self):
        self.closed = True


def write(texts, batch_sizes, *, partition_bytes, level=1, part_bytes=1 << 20):
    """Write lines in batches of the given sizes, over and over; return the sinks and the files' facts."""
    sinks = []

    def open_sink(index):
        assert index == len(sinks)
        sinks.append(MemorySink())
        return sinks[-1]

    writer = HourWriter(open_sink, level=level, partition_bytes=partition_bytes, part_bytes=part_bytes)
    start = n = 0
    while start < len(texts):
        batch = texts[start : start + batch_sizes[n % len(batch_sizes)]]
        offsets = np.cumsum([0, *map(len, batch)])
        times = [START + timedelta(milliseconds=start + i) for i in range(len(batch))]
        writer.write(Lines(memoryview(b"".join(batch)), offsets), pa.array(times, pa.timestamp("us", "UTC")))
        start, n = start + len(batch), n + 1
    return sinks, writer.finish()


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=60),
    batch_sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    partition_bytes=st.integers(1, 400),
    level=st.sampled_from([0, 1, 2, 3]),
)
@settings(max_examples=80, deadline=None)
def test_files_split_at_the_line_that_reaches_the_size(sizes, batch_sizes, partition_bytes, level):
    texts = [b"x" * (size - 1) + b"\n" for size in sizes]
    sinks, files = write(texts, batch_sizes, partition_bytes=partition_bytes, level=level)
    expected, held = [], b""
    for text in texts:
        held += text
        if len(held) >= partition_bytes:
            expected.append(held)
            held = b""
    if held:
        expected.append(held)
    bodies = [b"".join(sink.parts) for sink in sinks]
    assert [gzip.decompress(body) for body in bodies] == expected
    assert [f.raw_bytes for f in files] == [len(text) for text in expected]
    assert [f.bytes for f in files] == [len(body) for body in bodies]
    assert [f.sha256 for f in files] == [hashlib.sha256(body).hexdigest() for body in bodies]
    assert [f.rows for f in files] == [text.count(b"\n") for text in expected]
    assert [f.index for f in files] == list(range(len(files)))
    assert all(sink.closed for sink in sinks)
    # Line i is of START + i ms.
    row = 0
    for file in files:
        assert file.first_upload_time == START + timedelta(milliseconds=row)
        row += file.rows
        assert file.last_upload_time == START + timedelta(milliseconds=row - 1)


def test_an_hour_without_lines_opens_no_file():
    assert write([], [1], partition_bytes=1) == ([], [])


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_bytes_depend_on_the_lines_alone(level):
    """Compaction changes how the lake cuts its batches; the objects stay the same to the byte."""
    random = np.random.default_rng(7)
    texts = [b'{"n":%d,"text":"%s"}\n' % (n, bytes(random.integers(97, 123, 30))) for n in range(40_000)]
    bodies = {
        b"".join(sinks[0].parts)
        for batch_sizes in ([len(texts)], [1_000], [20_000, 7, 3_000], [333])
        for sinks, _ in [write(texts, batch_sizes, partition_bytes=1 << 30, level=level)]
    }
    assert len(bodies) == 1


def test_the_gzip_header_has_no_time_and_no_name():
    gzip_parts = GzipParts(1)
    (body,) = gzip_parts.write(memoryview(b"a\n")) + gzip_parts.finish()
    assert body[:4] == b"\x1f\x8b\x08\x00"
    assert body[4:8] == bytes(4)


def test_all_parts_but_the_last_have_the_part_size():
    random = np.random.default_rng(7)
    texts = [random.bytes(999) + b"\n" for _ in range(300)]
    (sink,), _ = write(texts, [50], partition_bytes=1 << 30, part_bytes=50_000)
    assert len(sink.parts) == 7
    assert {len(part) for part in sink.parts[:-1]} == {50_000}
    assert gzip.decompress(b"".join(sink.parts)) == b"".join(texts)


def test_a_file_is_one_gzip_member():
    texts = [b"x" * 99 + b"\n"] * 1_000
    (sink,), _ = write(texts, [10], partition_bytes=1 << 30)
    member = zlib.decompressobj(31)
    member.decompress(b"".join(sink.parts))
    assert member.eof
    assert member.unused_data == b""
