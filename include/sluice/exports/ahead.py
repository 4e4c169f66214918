"""Working ahead: the next items are made in a thread while the present one is used."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")

# How long, in seconds, the thread waits for room before it looks whether anybody still listens.
_POLL = 0.1


def ahead(items: Iterable[T], size: int = 2) -> Generator[T, None, None]:
    """Iterate over `items` while up to `size` more of them are made in a thread.

    An exception in `items` is raised here, after the items before it. Ending the iteration early ends the
    thread. It pays where both sides spend their time outside the interpreter's lock: reading and encoding
    here, compressing there.
    """
    queue: Queue[tuple[bool, T | BaseException | None]] = Queue(size)
    over = Event()

    def put(entry: tuple[bool, T | BaseException | None]) -> bool:
        while not over.is_set():
            try:
                queue.put(entry, timeout=_POLL)
                return True
            except Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:
            put((False, error))

    thread = Thread(target=work, name="sluice-ahead", daemon=True)
    thread.start()
    try:
        while True:
            more, item = queue.get()
            if not more:
                if isinstance(item, BaseException):
                    raise item
                return
            yield item  # type: ignore[misc]
            # The item may be large: do not hold it while waiting for the next.
            del item
    finally:
        over.set()
        while thread.is_alive():
            try:
                queue.get_nowait()
            except Empty:
                thread.join(_POLL)
