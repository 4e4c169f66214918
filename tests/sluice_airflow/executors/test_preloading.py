"""The executor's workers have the libraries before they are forked, and what they fork can use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import preloaded_tasks
import pytest

from sluice_airflow.executors.preloading import PreloadingLocalExecutor


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere processes are not forked, or there is no /proc"
)
def test_tasks_find_the_libraries_imported_and_can_work_with_them(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", preloaded_tasks.__file__, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"rows.parquet", "table"}


def test_what_cannot_be_imported_is_logged_and_skipped(tmp_path, monkeypatch, capsys):
    for name, text in (("a_broken_library", "1 / 0"), ("a_good_library", "")):
        Path(tmp_path, f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    names = ["a_missing_library", "a_broken_library", "a_good_library"]
    PreloadingLocalExecutor(parallelism=1).preload(names)
    assert sys.modules.pop("a_good_library")
    said = "".join(capsys.readouterr())
    assert "Not preloaded: a_missing_library" in said
    assert "Not preloaded: a_broken_library" in said
    assert "a_good_library" not in said
