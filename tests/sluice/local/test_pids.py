"""A remembered process is never taken for a later one of the same number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sluice.local.pids import ProcessId, end_leftovers, recall, remember


def test_this_process_is_recognised_again(tmp_path: Path) -> None:
    process = ProcessId.of(os.getpid())
    assert process is not None
    remember(tmp_path / "me.pid", process)
    assert recall(tmp_path / "me.pid") == process
    assert process.is_running()


def test_a_stranger_with_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        old = ProcessId(stranger.pid, "another start time")
        assert not old.is_running()
        old.send(signal.SIGKILL)
        remember(tmp_path / "old.pid", old)
        assert end_leftovers(tmp_path) == []
        assert stranger.poll() is None
        assert not list(tmp_path.iterdir())
    finally:
        stranger.kill()
        stranger.wait()


def test_an_ended_process_is_not_running() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = ProcessId.of(child.pid)
    assert process is not None
    child.communicate(b"\n")
    assert not process.is_running()
    assert ProcessId.of(child.pid) is None


@pytest.mark.parametrize("text", ["", "{", '{"pid": 1}', "[]", '{"pid": "x", "started": "y"}'])
def test_a_half_written_pid_file_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "half.pid").write_text(text)
    assert recall(tmp_path / "half.pid") is None
    assert end_leftovers(tmp_path) == []
