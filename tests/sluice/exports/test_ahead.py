"""Working ahead in a thread: order, errors and an early end."""

import threading

import pytest

from sluice.exports.ahead import ahead


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "sluice-ahead"]


def test_items_come_in_order():
    assert list(ahead(iter(range(100)), 3)) == list(range(100))


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise OSError("disk full")

    got = []
    with pytest.raises(OSError, match="disk full"):
        for item in ahead(items()):
            got.append(item)  # noqa: PERF402
    assert got == [1]


def test_ending_early_ends_the_thread():
    made = []

    def items():
        for n in range(1_000_000):
            made.append(n)
            yield n

    stream = ahead(items(), 2)
    assert next(stream) == 0
    stream.close()
    assert threads() == []
    assert len(made) < 10


def test_no_more_items_are_made_than_asked_for():
    asked = threading.Semaphore(0)
    made = []

    def items():
        for n in range(50):
            made.append(n)
            asked.release()
            yield n

    stream = ahead(items(), 2)
    next(stream)
    # One given, two in the queue, one that waits for room.
    for _ in range(4):
        assert asked.acquire(timeout=10)
    assert len(made) == 4
    assert list(stream) == list(range(1, 50))
