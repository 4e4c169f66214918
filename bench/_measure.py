"""Runs a piece of work in a process of its own and takes its time, its CPU and its memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
_SAMPLE_SECONDS = 0.1


def in_child(module: str, order: dict[str, Any], python: str = sys.executable) -> dict[str, Any]:
    """Run `python -m <module>` with the order on standard input; return the JSON that it prints last.

    `peak_memory_mb` is added: the highest sum of the proportional shares (PSS) of the process and of all
    that it started. Raises RuntimeError with the process's last words if it fails.
    """
    process = subprocess.Popen(
        [python, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    over = threading.Event()
    peaks: list[float] = [0.0]

    def watch() -> None:
        while not over.wait(_SAMPLE_SECONDS):
            peaks.append(tree_pss_mb(process.pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    output, errors = process.communicate(json.dumps(order))
    over.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{module} {order.get('what')} failed:\n{errors[-4000:]}")
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result | {"peak_memory_mb": max(peaks)}


def tree_pss_mb(pid: int) -> float:
    """Return the proportional set size of a process and its descendants, in MB."""
    import psutil

    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_pss_kb(process.pid) for process in family) / 1e3


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        # It ended in between.
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


@contextmanager
def clocked(figures: dict[str, float], name: str = "") -> Iterator[None]:
    """Put the block's wall and CPU seconds, those of its ended child processes included, into `figures`."""
    prefix = f"{name}." if name else ""
    began, began_cpu = time.perf_counter(), cpu_seconds()
    yield
    figures[f"{prefix}seconds"] = time.perf_counter() - began
    figures[f"{prefix}cpu_seconds"] = cpu_seconds() - began_cpu


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its ended children."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)
