"""How fast messages may go to a stream, and how long to wait before one goes again (amplitude-spec 3.4)."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable

# Of a PutRecords request (decisions K-8): newer limits are higher, and nothing relies on them.
MAX_RECORDS = 500
MAX_REQUEST_BYTES = 5 << 20
# What one shard takes in a second.
SHARD_RECORDS = 1_000
SHARD_BYTES = 1_000_000

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0


class Pace:
    """Spaces requests so that no second brings more than the shards take: 1,000 records and 1 MB each.

    It reckons with an even spread. Where keys fall together on one shard, the stream refuses some records,
    and they go again. `clock` counts seconds.
    """

    def __init__(self, shards: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._records = shards * SHARD_RECORDS
        self._bytes = shards * SHARD_BYTES
        self._clock = clock
        # What the last second brought: until when it counts, records, bytes.
        self._sent: deque[tuple[float, int, int]] = deque()

    @property
    def max_bytes(self) -> int:
        """The bytes of a request, keys included: no more than the shards take in a second.

        A single record may be larger: it then goes alone.
        """
        return min(MAX_REQUEST_BYTES, self._bytes)

    def book(self, records: int, size: int) -> float:
        """Take a request's share of the shards; return how many seconds to wait before it is sent."""
        now = start = self._clock()
        room_records, room_bytes = self._records, self._bytes
        for _, some, more in self._sent:
            room_records -= some
            room_bytes -= more
        while self._sent and (self._sent[0][0] <= start or records > room_records or size > room_bytes):
            until, some, more = self._sent.popleft()
            start = max(start, until)
            room_records += some
            room_bytes += more
        # More than a second's worth counts for as long as the shards need for it.
        self._sent.append((start + max(1.0, size / self._bytes), records, size))
        return start - now


def backoff(refused: int) -> float:
    """Return the seconds to wait after so many refusals in a row: doubling from 0.1 to 5, with jitter.

    The jitter keeps several syncs that were refused together from coming back together.
    """
    longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(refused - 1, 16))
    return random.uniform(longest / 2, longest)
