"""One launcher per data directory."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from sluice.local.errors import AlreadyRunningError


class DataDirLock:
    """A lock that the kernel takes back when its holder ends, with the holder's facts for others to read."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.path = data_dir / "stack.lock"
        self._file: int | None = None

    def acquire(self, ui: str) -> bool:
        """Take the lock; tell whether its last holder ended without releasing it."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            facts = os.read(file, 4096)
            os.close(file)
            raise AlreadyRunningError(_already_running(self.data_dir, facts)) from error
        stale = os.fstat(file).st_size > 0
        facts = json.dumps(
            {"pid": os.getpid(), "started": datetime.now(UTC).isoformat("T", "seconds"), "ui": ui}
        ).encode()
        os.ftruncate(file, 0)
        os.pwrite(file, facts, 0)
        self._file = file
        return stale

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None


def _already_running(data_dir: Path, facts: bytes) -> str:
    try:
        holder = json.loads(facts)
        pid = holder["pid"]
        return (
            f"Sluice already runs in {data_dir}: pid {pid} since {holder['started']}, Airflow at"
            f" {holder['ui']}; end it there with Ctrl-C, or with `kill {pid}`"
        )
    except (ValueError, KeyError, TypeError):
        return f"Sluice is just starting in {data_dir}; wait for it, or choose another data directory"
