"""Airflow's components, each a guarded process of its own, with LocalExecutor and PostgreSQL."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluice.local.airflow_settings import COMPONENTS
from sluice.local.errors import LocalServiceError
from sluice.local.ports import HOST, require_port
from sluice.local.process import Program, Service
from sluice.local.programs import require_module

FOLDER = "airflow"
# Four processes that each import Airflow for the first time took 109 s on a busy two-core machine.
READY_SECONDS = 240.0


def airflow_command(*arguments: str) -> tuple[str, ...]:
    """Run Airflow's command line with this Python, safe from modules in the current folder."""
    return (sys.executable, "-P", "-m", "airflow", *arguments)


def read_health(port: int) -> dict[str, Any]:
    """Ask the API server how all components are."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://{HOST}:{port}/api/v2/monitor/health", timeout=10) as answer:
        health: dict[str, Any] = json.load(answer)
    return health


class Migration(Program):
    """Brings the metadata database to this Airflow's schema, and ends."""

    name = "airflow-migrate"
    ready_seconds = READY_SECONDS

    def __init__(self, data_dir: Path, settings: Mapping[str, str]) -> None:
        super().__init__(data_dir, FOLDER)
        self.settings = settings

    def prepare(self) -> None:
        """Check that Airflow is installed."""
        require_module("airflow", "apache-airflow")

    def command(self) -> Sequence[str]:
        """Migrate; harmless where nothing is to be done."""
        return airflow_command("db", "migrate")

    def additions(self) -> Mapping[str, str]:
        """Give Airflow's settings."""
        return self.settings


class AirflowComponent(Service):
    """One long-running component; healthy is what Airflow's own health page says about it."""

    ready_seconds = READY_SECONDS
    grace_seconds = 15.0

    def __init__(self, data_dir: Path, component: str, settings: Mapping[str, str], port: int) -> None:
        self.name = f"airflow-{component}"
        super().__init__(data_dir, FOLDER)
        self.component = component
        self.settings = settings
        self.port = port

    def prepare(self) -> None:
        """Insist on the port that the settings name."""
        if self.component == "api-server":
            require_port(self.port, "Airflow's API server")
        self.spawned_at = datetime.now(UTC)

    def command(self) -> Sequence[str]:
        """Run the component."""
        return airflow_command(*COMPONENTS[self.component])

    def additions(self) -> Mapping[str, str]:
        """Give Airflow's settings."""
        return self.settings

    def probe(self) -> None:
        """Look at the health page: healthy, and by a heartbeat of this process, not of an earlier one."""
        health = read_health(self.port)
        if self.component == "api-server":
            if health["metadatabase"]["status"] != "healthy":
                raise LocalServiceError("the API server does not reach the metadata database")
            return
        name = self.component.replace("-", "_")
        beat = health[name][f"latest_{name}_heartbeat"]
        if beat is None or datetime.fromisoformat(beat) < self.spawned_at:
            raise LocalServiceError(f"the {self.component} has not reported yet")
        if health[name]["status"] != "healthy":
            raise LocalServiceError(f"the {self.component} is {health[name]['status']}")
