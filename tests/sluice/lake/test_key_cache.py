"""The cache of keys: used where it is right, built again where it is not, and bounded."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sluice.lake import key_cache
from sluice.lake.key_cache import Block, KeyCache, root

RANDOM = np.random.default_rng(3)
HIGH, LOW, AT = RANDOM.integers(-(2**63), 2**63 - 1, (3, 10))


def blocks(*, timed=False, placed=False):
    """Give ten keys in two blocks; `placed` leaves out the data file's third row."""
    for start, end in ((0, 6), (6, 10)):
        places = np.arange(start, end) + (np.arange(start, end) > 2) if placed else None
        here = slice(start, end)
        yield Block(HIGH[here], LOW[here], start, AT[here] if timed else None, places)


def content(given):
    """Return rows (high, low, loaded_at, place); what comes twice counts once."""
    rows = set()
    for block in given:
        places = block.place(np.arange(len(block.high)))
        times = [None] * len(places) if block.loaded_at is None else block.loaded_at.tolist()
        rows |= set(zip(block.high.tolist(), block.low.tolist(), times, places.tolist(), strict=True))
    return rows


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    return KeyCache("lake", 7, "dedup")


def files(suffix="keys"):
    return sorted(root().rglob(f"*.{suffix}"))


def never():
    raise AssertionError("the cache was not used")


@pytest.mark.parametrize("how", [{}, {"timed": True}, {"placed": True}, {"timed": True, "placed": True}])
def test_keys_are_read_once_and_then_from_the_cache(cache, how):
    expected = content(blocks(**how))
    assert content(cache.blocks("a", lambda: blocks(**how))) == expected
    assert content(cache.blocks("a", never)) == expected
    assert len({place for *_, place in expected}) == 10
    assert content(cache.blocks("b", lambda: iter(()))) == content(cache.blocks("b", never)) == set()


def test_lakes_projects_kinds_and_files_have_their_own(cache):
    list(cache.blocks("a", blocks))
    others = [KeyCache("other", 7, "dedup"), KeyCache("lake", 8, "dedup"), KeyCache("lake", 7, "uuid")]
    for other in others:
        assert content(other.blocks("a", lambda: iter(()))) == set()
    assert content(cache.blocks("c", lambda: iter(()))) == set()
    assert content(cache.blocks("a", never)) == content(blocks())


def test_any_damage_is_found_and_mended(cache):
    expected = content(blocks(timed=True))
    list(cache.blocks("a", lambda: blocks(timed=True)))
    (file,) = files()
    good = file.read_bytes()
    for place in range(0, len(good), 3):
        for bad in (
            good[:place],
            good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :],
            good[:place] + bytes(8) + good[place:],
        ):
            file.write_bytes(bad)
            assert content(cache.blocks("a", lambda: blocks(timed=True))) == expected
    file.write_bytes(good[:-1])
    list(cache.blocks("a", lambda: blocks(timed=True)))
    assert file.read_bytes() == good
    file.unlink()
    assert content(cache.blocks("a", lambda: blocks(timed=True))) == expected


def test_a_reader_that_stops_or_fails_leaves_no_file(cache):
    next(cache.blocks("a", blocks))

    def broken():
        yield next(blocks())
        raise OSError("the store is gone")

    with pytest.raises(OSError, match="store is gone"):
        list(cache.blocks("a", broken))
    assert files() == files("new") == []


def test_without_a_place_to_write_the_keys_are_read_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "file"))
    cache = KeyCache("lake", 7, "dedup")
    assert content(cache.blocks("a", blocks)) == content(cache.blocks("a", blocks)) == content(blocks())
    cache.tidy(["a"])


def test_several_that_build_one_file_each_get_it_right(cache):
    def build(_):
        return content(cache.blocks("a", blocks))

    with ThreadPoolExecutor(8) as pool:
        assert all(one == content(blocks()) for one in pool.map(build, range(40)))
    assert len(files()) == 1
    assert files("new") == []


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


def test_what_left_the_window_goes_and_what_is_in_use_stays(cache):
    for name in "abc":
        list(cache.blocks(name, blocks))
    other = KeyCache("other", 7, "dedup")
    list(other.blocks("a", blocks))
    left_behind = files()[0].with_name("killed.new")
    left_behind.write_bytes(b"half")
    for file in (*files(), left_behind):
        age(file, key_cache.GRACE_SECONDS + 60)
    list(cache.blocks("c", never))
    cache.tidy(["a"])
    assert not left_behind.exists()
    # `b` is gone, `c` was of use just now: another load may see another window. The other lake is not ours.
    assert len(files()) == 3
    assert content(cache.blocks("a", never)) == content(cache.blocks("c", never))
    assert content(cache.blocks("b", lambda: iter(()))) == set()
    assert content(other.blocks("a", never)) == content(blocks())


def test_beyond_its_limit_the_cache_loses_what_was_not_used_for_longest(cache, monkeypatch):
    for seconds, name in ((10, "a"), (30, "b"), (20, "c")):
        before = set(files())
        list(cache.blocks(name, blocks))
        (new,) = set(files()) - before
        age(new, seconds)
    monkeypatch.setattr(key_cache, "LIMIT_BYTES", 2 * files()[0].stat().st_size)
    cache.tidy("abc")
    assert len(files()) == 2
    assert content(cache.blocks("a", never)) == content(cache.blocks("c", never)) == content(blocks())


def test_the_whole_cache_is_looked_through_once_an_hour(cache, monkeypatch):
    list(cache.blocks("a", blocks))
    cache.tidy("a")
    monkeypatch.setattr(key_cache, "LIMIT_BYTES", 0)
    cache.tidy("a")
    assert len(files()) == 1
    age(root() / "keys/swept", key_cache.GRACE_SECONDS + 60)
    cache.tidy("a")
    assert files() == []


def test_the_folder_is_the_user_s_unless_it_is_given(monkeypatch, tmp_path):
    monkeypatch.delenv("SLUICE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert root() == tmp_path / "sluice"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert root() == tmp_path / "home/.cache/sluice"
