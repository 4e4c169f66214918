"""The whole stack: Airflow's components are healthy on loopback alone, and end with their launcher."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from .launched import Launched, launch

pytestmark = pytest.mark.e2e

BEGINNING = """
import pathlib, sys
from sluice.local.stack import LocalStack
LocalStack(pathlib.Path(sys.argv[1])).start()
"""


def test_a_healthy_stack_ends_with_its_launcher(tmp_path: Path) -> None:
    """SIGKILL is the hardest end: nothing in the launcher can act on it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        launch(tmp_path, ui_port=taken.getsockname()[1]) as launched,
    ):
        check_address(launched, taken.getsockname()[1])
        check_health(launched)
        check_second_start(tmp_path, launched)
        launched.end(signal.SIGKILL)


def check_address(launched: Launched, taken: int) -> None:
    assert int(launched.url.rpartition(":")[2]) > taken
    assert {ip for ip, _ in launched.addresses} == {"127.0.0.1"}
    assert len(launched.ports) == 10  # eight of SeaweedFS, moto, the API server


def check_health(launched: Launched) -> None:
    with urllib.request.urlopen(f"{launched.url}/api/v2/monitor/health", timeout=20) as answer:
        health = json.load(answer)
    assert {part: facts["status"] for part, facts in health.items()} == dict.fromkeys(
        ("metadatabase", "scheduler", "triggerer", "dag_processor"), "healthy"
    )


def check_second_start(data_dir: Path, launched: Launched) -> None:
    second = subprocess.run(
        [sys.executable, "-c", BEGINNING, str(data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    last = second.stderr.splitlines()[-1]
    assert f"AlreadyRunningError: Sluice already runs in {data_dir}: pid {launched.process.pid} since" in last
    assert launched.url in last
