"""Converts the pieces of a large file in several processes.

The processes are plain `python` children, each on one end of a socket pair. `multiprocessing` would not do
inside a task: it refuses children to a daemonic process, as Celery's workers are, its spawn imports Airflow's
own `__main__` again, and a fork copies the locks of whatever threads the task runs. A child that is no copy
imports only what converting needs, and its end is simple: when this process goes, however it goes, the
socket closes, and the child reads its end.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from logging import LogRecord, getLogger
from multiprocessing.connection import Connection
from typing import Any

from sluice.errors import TransientError
from sluice.imports.blocks import Block, Pipeline
from sluice.imports.records import Piece

# A file smaller than this is converted before the processes would have started.
MIN_BYTES = 32 << 20
# More processes than this would only wait for the one that reads and writes the file, and take memory.
_MAX_PROCESSES = 4
# Pieces that are on their way, for each process: one in work, one at hand, one that waits for its turn.
_PIECES_EACH = 3
_TICK_SECONDS = 10.0

_START = (
    "import sys; sys.path[:] = sys.argv[2:]; from sluice.imports.worker import serve; serve(int(sys.argv[1]))"
)


class WorkerDied(TransientError):
    """A process that converts pieces ended before its work."""


def usable_processes() -> int:
    """Return how many processes convert a large file: one for each core that this process may use."""
    return min(len(os.sched_getaffinity(0)), _MAX_PROCESSES)


class Workers:
    """Processes that convert pieces, started by the first; `with` ends them."""

    def __init__(self, count: int | None = None) -> None:
        self._count = usable_processes() if count is None else count
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: list[_Worker] = []
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._all:
            worker.end()
        if self._threads is not None:
            self._threads.shutdown()

    def worth(self, size: int) -> bool:
        """Say whether content of so many bytes should be shared among the processes."""
        return self._count > 1 and size >= MIN_BYTES

    def blocks(
        self, pipeline: Pipeline, pieces: Iterable[tuple[int, Piece]], waiting: Callable[[], None]
    ) -> Iterator[Block]:
        """Yield the block of each (first row, piece), in their order; memory holds a few.

        `waiting` is called now and then while a block takes long. Raises WorkerDied, and what `pieces`
        raises after the blocks before.
        """
        seen: set[tuple[str, object]] = set()
        threads = self._start()
        underway: deque[Future[tuple[Block, list[LogRecord]]]] = deque()

        def first_done() -> Block:
            while not wait([underway[0]], _TICK_SECONDS).done:
                waiting()
            block, records = underway.popleft().result()
            for record in records:
                # A converter says a thing once for each file, here each process does.
                if (kind := (record.name, record.__dict__["template"])) not in seen:
                    seen.add(kind)
                    getLogger(record.name).handle(record)
            return block

        try:
            for first, piece in pieces:
                underway.append(threads.submit(self._convert, pipeline, first, piece))
                if len(underway) >= _PIECES_EACH * self._count:
                    yield first_done()
            while underway:
                yield first_done()
        finally:
            for future in underway:
                future.cancel()
            wait(underway)

    def _start(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._count, "convert")
            for _ in range(self._count):
                self._all.append(_Worker())
                self._idle.put(self._all[-1])
        return self._threads

    def _convert(self, pipeline: Pipeline, first: int, piece: Piece) -> tuple[Block, list[LogRecord]]:
        worker = self._idle.get()
        try:
            return worker.convert(pipeline, first, piece)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process and the socket to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._connection: Connection[Any, Any] = Connection(ours.detach())
        self._pipeline: Pipeline | None = None

    def convert(self, pipeline: Pipeline, first: int, piece: Piece) -> tuple[Block, list[LogRecord]]:
        with self._alive():
            if self._pipeline is not pipeline:
                self._connection.send(pipeline)
                self._pipeline = pipeline
            self._connection.send((first, piece))
            answer = self._connection.recv()
        if isinstance(answer, BaseException):
            raise answer
        block, records = answer
        return block, records

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        # Whoever waits for an answer has got the end of the stream instead.

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            code = self._process.wait()
            how = (
                f"was killed by signal {-code}, perhaps for lack of memory"
                if code < 0
                else f"ended with code {code}; its own words are in the log"
            )
            raise WorkerDied(
                f"A process that converts pieces of the file {how}. Nothing of the file is staged, and the"
                " task may be tried again; if it is killed again, give it more memory."
            ) from error
