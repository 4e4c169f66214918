"""One launcher per data directory; a crashed one does not block the next."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sluice.local.errors import AlreadyRunningError
from sluice.local.lock import DataDirLock

UI = "http://127.0.0.1:8080"


def test_a_second_launcher_is_told_who_runs(tmp_path: Path) -> None:
    first = DataDirLock(tmp_path)
    assert first.acquire(UI) is False
    with pytest.raises(AlreadyRunningError) as caught:
        DataDirLock(tmp_path).acquire("another")
    assert "\n" not in str(caught.value)
    assert f"already runs in {tmp_path}: pid {os.getpid()} since 20" in str(caught.value)
    assert UI in str(caught.value)


def test_after_an_orderly_end_the_next_finds_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        lock = DataDirLock(tmp_path)
        assert lock.acquire(UI) is False
        lock.release()
        lock.release()


def test_after_a_crash_the_next_takes_over_and_knows(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from sluice.local.lock import DataDirLock;"
        "DataDirLock(pathlib.Path(sys.argv[1])).acquire('x'); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    lock = DataDirLock(tmp_path)
    assert lock.acquire(UI) is True
    lock.release()


def test_a_holder_that_has_not_written_its_facts_yet_is_reported(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path)
    lock.acquire(UI)
    lock.path.write_text("")
    with pytest.raises(AlreadyRunningError, match="is just starting"):
        DataDirLock(tmp_path).acquire(UI)
    lock.release()
