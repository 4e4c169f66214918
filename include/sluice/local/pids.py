"""Processes remembered in files: a pid together with its start time, because pids are used again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """One process of this machine, never confused with a later one of the same number."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Identify a running process; None if there is none of that number."""
        started = _started(pid)
        return None if started is None else cls(pid, started)

    def is_running(self) -> bool:
        """Tell whether this very process still runs."""
        return _started(self.pid) == self.started

    def send(self, number: int) -> None:
        """Signal this process; nothing happens if it is gone."""
        with contextlib.suppress(ProcessLookupError):
            if self.is_running():
                os.kill(self.pid, number)


def _started(pid: int) -> str | None:
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip() or None


def remember(path: Path, process: ProcessId) -> None:
    """Write a process into a pid file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"pid": process.pid, "started": process.started}))


def recall(path: Path) -> ProcessId | None:
    """Read a pid file; an absent or half-written one names no process."""
    try:
        facts = json.loads(path.read_text())
        return ProcessId(int(facts["pid"]), str(facts["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def end_leftovers(folder: Path, patience: float = 30.0) -> list[str]:
    """Wait until an earlier launcher's processes have ended, and end those that do not; name them all."""
    left = {
        path: process
        for path in sorted(folder.glob("*.pid"))
        if (process := recall(path)) and process.is_running()
    }
    for process in left.values():
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + patience
    while any(process.is_running() for process in left.values()):
        if time.monotonic() > deadline:
            for process in left.values():
                process.send(signal.SIGKILL)
        time.sleep(0.05)
    for path in folder.glob("*.pid"):
        path.unlink(missing_ok=True)
    return [path.stem for path in left]
