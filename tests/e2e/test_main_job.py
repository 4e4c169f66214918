"""The main job under a running scheduler: the demo, smaller; and the end of everything that it started."""

from __future__ import annotations

import json
import pickle
import re
import signal
import socket
import urllib.request
from pathlib import Path

import main_job
import pytest
from launched import Launched, launch_command

from sluice.demo.cohort_proof import Flow
from sluice.demo.run import Demonstration
from sluice.local.errors import AlreadyRunningError
from sluice.local.ports import free_port
from sluice.local.stack import LocalStack


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_month_of_flights_goes_through_import_lake_export_and_cohort_sync(tmp_path: Path) -> None:
    """One stack for all of it, as its start alone takes a minute; the hardest end, SIGKILL, is its own."""
    # Not one that the system gives: those behind it are taken by connections at any time.
    port = free_port()
    command = [main_job.__file__, str(tmp_path), str(port)]
    with (
        socket.create_server(("127.0.0.1", port)),
        launch_command(tmp_path / "stack", command) as launched,
    ):
        check_address(launched, port)
        check_job(launched, tmp_path / "done")
        check_health(launched)
        check_second_start(launched)
        launched.end(signal.SIGKILL)


def check_address(launched: Launched, taken: int) -> None:
    assert int(launched.url.rpartition(":")[2]) > taken
    assert {ip for ip, _ in launched.addresses} == {"127.0.0.1"}
    assert len(launched.ports) == 10  # eight of SeaweedFS, moto, the API server


def check_job(launched: Launched, written: Path) -> None:
    assert launched.process.stdout is not None
    if launched.process.stdout.readline() != "done\n":
        pytest.fail(launched.process.communicate()[1])
    done: Demonstration = pickle.loads(written.read_bytes())
    assert done.note == "2 files, 51,955 rows: 51,955 loaded, 0 duplicate, 0 ignored, 0 rejected."
    assert done.proof.problems == []
    assert done.written_again == []
    assert done.tasks == 6
    assert done.notified.rows == done.notified.expected
    assert [hour.lines for hour in done.proof.hours] == [50, 42]
    assert done.stopped.problems == []
    assert (done.stopped.gate.state, done.stopped.repaired) == ("held", 500)
    assert "expect_column_values_to_match_regex" in done.stopped.shown
    assert {of.of: of.rows for of in done.gates} == {
        "cohort busy_ads": 74,
        "cohort delayed_crm": 65,
        "export flights": 92,
        "import flights": 51_955,
        "import flights_notified": 1_500,
    }
    assert done.cohorts.problems == []
    assert list(done.cohorts.files.flows.values()) == [Flow(33, 33, 0), Flow(32, 0, 1)]
    assert list(done.cohorts.messages.flows.values()) == [Flow(37, 37, 0), Flow(37, 5, 5)]


def check_health(launched: Launched) -> None:
    with urllib.request.urlopen(f"{launched.url}/api/v2/monitor/health", timeout=20) as answer:
        health = json.load(answer)
    assert {part: facts["status"] for part, facts in health.items()} == dict.fromkeys(
        ("metadatabase", "scheduler", "triggerer", "dag_processor"), "healthy"
    )


def check_second_start(launched: Launched) -> None:
    running = f"Sluice already runs in {launched.data_dir}: pid {launched.process.pid} since"
    with pytest.raises(AlreadyRunningError, match=f"^{re.escape(running)}") as caught:
        LocalStack(launched.data_dir).start()
    assert launched.url in str(caught.value)
    assert "\n" not in str(caught.value)
