"""The child's side of `workers`: converts pieces until the socket ends."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import traceback
from importlib.abc import MetaPathFinder
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection

from sluice.imports.blocks import Block, Pipeline
from sluice.imports.records import Piece

_KEPT_BYTES = 24 << 20


class _Kept(QueueHandler):
    """Keeps log records, so that they reach the log of the task with their block."""

    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []
        super().__init__(self.records)  # type: ignore[arg-type]

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        template = record.msg
        prepared: logging.LogRecord = super().prepare(record)
        prepared.__dict__["template"] = template
        return prepared

    def enqueue(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def take(self) -> list[logging.LogRecord]:
        taken = self.records[:]
        self.records.clear()
        return taken


class _NoPandas(MetaPathFinder):
    """Keeps pandas out: Arrow would load it at its first array, for 45 MB and a third of a second."""

    def find_spec(self, fullname: str, *rest: object) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not needed here", name=fullname)


def _keep_memory() -> list[bytes]:
    """Hold one small object in each of Python's first arenas of 1 MiB.

    Between two pieces nearly all objects go: empty arenas would go back to the system and come again with the
    next piece, at two page faults a row.
    """
    objects = [bytes(480) for _ in range(_KEPT_BYTES // 512)]
    return objects[::1000]


def serve(descriptor: int) -> None:
    """Answer (first row, piece) with (block, log records), by the pipeline that was sent before.

    An answer may be an exception. Ends when the other side closes, which the system does for a process that
    was killed.
    """
    # Ctrl-C reaches the whole group, and the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.meta_path.insert(0, _NoPandas())
    kept = _Kept()
    logging.getLogger().addHandler(kept)
    # As in the parent: rows make no cycles, but the collector's scans cost a third of the time.
    gc.disable()
    pipeline: Pipeline
    kept_memory = _keep_memory()
    with Connection(descriptor) as connection:
        try:
            pipeline = connection.recv()
            while True:
                message = connection.recv()
                if isinstance(message, tuple):
                    first, piece = message
                    connection.send(_answer(pipeline, first, piece, kept))
                else:
                    pipeline = message
                    gc.collect()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            kept_memory.clear()


def _answer(
    pipeline: Pipeline, first: int, piece: Piece, kept: _Kept
) -> tuple[Block, list[logging.LogRecord]] | RuntimeError:
    try:
        return pipeline.block(first, piece), kept.take()
    except Exception:
        return RuntimeError(f"A process that converts pieces failed:\n{traceback.format_exc()}")
