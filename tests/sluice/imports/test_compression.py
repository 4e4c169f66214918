"""Gunzip while streaming, and the setting against the magic bytes (decisions D-19)."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.imports import compression
from sluice.imports.compression import decompress
from sluice.imports.errors import FileError


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=3), size=st.integers(1, 97))
def test_gzip_members_in_any_blocks_give_their_content(parts: list[bytes], size: int) -> None:
    data = b"".join(map(gzip.compress, parts)) + b"\0" * (size % 5)
    assert b"".join(decompress(blocks(data, size), "gzip")) == b"".join(parts)


def test_highly_compressible_content_comes_whole() -> None:
    data = gzip.compress(b"\0" * 10_000_000)
    chunks = list(decompress([data], "gzip"))
    assert sum(map(len, chunks)) == 10_000_000
    assert max(map(len, chunks)) <= 1 << 20


def test_plain_content_passes_through() -> None:
    assert b"".join(decompress([b"a", b",b\n"], "none")) == b"a,b\n"


@pytest.mark.parametrize("size", [1, 50, 100_000])
@pytest.mark.parametrize("keep", [3, 12, -9, -4, -1])
def test_a_truncated_file_is_an_error(keep: int, size: int) -> None:
    data = gzip.compress(bytes(range(256)) * 50)[:keep]
    with pytest.raises(FileError, match="ends early"):
        list(decompress(blocks(data, size), "gzip"))


def test_a_damaged_file_is_an_error() -> None:
    data = bytearray(gzip.compress(bytes(range(256)) * 50))
    data[-6] ^= 0xFF
    with pytest.raises(FileError, match="gzip data is broken"):
        list(decompress([bytes(data)], "gzip"))


def test_garbage_after_the_last_member_is_an_error() -> None:
    with pytest.raises(FileError, match="not gzip throughout"):
        list(decompress([gzip.compress(b"a") + b"and so on, and so forth"], "gzip"))


@pytest.mark.parametrize(
    ("data", "setting", "message"),
    [
        pytest.param(b"a,b\n", "gzip", "does not begin with gzip's magic", id="plain-called-gzip"),
        pytest.param(gzip.compress(b"a"), "none", "set compressionType to gzip", id="gzip-called-plain"),
        pytest.param(b"", "gzip", "empty", id="empty-gzip"),
        pytest.param(b"", "none", "empty", id="empty-plain"),
    ],
)
def test_the_setting_is_checked_against_the_bytes(data: bytes, setting: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        list(decompress([data], setting))


def test_a_gzip_bomb_is_refused_in_flat_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_BOMB_BYTES", 64 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = b"".join(packer.compress(b"\0" * (1 << 20)) for _ in range(256)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="gzip bomb"):
            for _ in decompress(blocks(data, 1 << 20), "gzip"):
                pass
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
