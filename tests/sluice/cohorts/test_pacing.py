"""How fast a stream is sent to: never more in a second than its shards take."""

import pytest

from sluice.cohorts.pacing import MAX_REQUEST_BYTES, Pace, backoff


class Clock:
    """A clock that goes only where it is put."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def send(pace: Pace, clock: Clock, requests: list[tuple[int, int]]) -> list[tuple[float, int, int]]:
    """Send requests (records, bytes) as fast as the pace allows; return when each was sent."""
    sent = []
    for records, size in requests:
        clock.now += pace.book(records, size)
        sent.append((clock.now, records, size))
    return sent


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(
    "requests", [[(500, 1_000)] * 12, [(5, 900_000)] * 12], ids=["many records", "many bytes"]
)
def test_no_second_has_more_than_the_shards_take(shards, requests):
    clock = Clock()
    sent = send(Pace(shards, clock), clock, requests)
    for begin, *_ in sent:
        second = [(records, size) for at, records, size in sent if begin <= at < begin + 0.999]
        assert sum(records for records, _ in second) <= 1_000 * shards
        assert sum(size for _, size in second) <= 1_000_000 * shards


@pytest.mark.parametrize(("shards", "seconds"), [(1, 11), (3, 3)])
def test_all_that_the_shards_take_is_sent(shards, seconds):
    clock = Clock()
    sent = send(Pace(shards, clock), clock, [(10, 500_000)] * 24)
    assert sent[-1][0] - sent[0][0] == pytest.approx(seconds)


def test_the_first_request_and_one_after_a_pause_go_at_once():
    clock = Clock()
    pace = Pace(1, clock)
    assert pace.book(500, 900_000) == 0
    clock.now += 60
    assert pace.book(500, 900_000) == 0
    assert pace.book(1, 1) == 0
    assert pace.book(1, 100_000) == pytest.approx(1)


def test_a_record_larger_than_a_second_of_the_shards_goes_alone_and_counts_whole():
    clock = Clock()
    pace = Pace(1, clock)
    assert pace.book(1, 3_000_000) == 0
    assert pace.book(1, 1) == pytest.approx(3)


@pytest.mark.parametrize(("shards", "most"), [(1, 1_000_000), (4, 4_000_000), (50, MAX_REQUEST_BYTES)])
def test_a_request_is_no_larger_than_a_second_of_the_shards(shards, most):
    assert Pace(shards).max_bytes == most


def test_waits_grow_and_end_growing_and_differ():
    waits = [[backoff(refused) for _ in range(20)] for refused in (1, 2, 3, 10, 1_000)]
    for longest, some in zip((0.1, 0.2, 0.4, 5, 5), waits, strict=True):
        assert all(longest / 2 <= wait <= longest for wait in some)
        assert len(set(some)) > 1
