"""Airflow's settings for the local stack, as environment variables; docker-compose.yaml has the same ones."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sluice.local.connections import aws_connection, ledger_connection
from sluice.local.ports import HOST
from sluice.local.seaweedfs import S3Access

REPOSITORY = Path(__file__).resolve().parents[3]

#: What does not depend on the machine, and why it differs from Airflow's default.
FIXED_SETTINGS = {
    # LocalExecutor, with the large libraries imported once instead of once per task (ADR 17).
    "AIRFLOW__CORE__EXECUTOR": "sluice_airflow.executors.preloading.PreloadingLocalExecutor",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    # The default keeps 32 idle worker processes; 8 are enough for a few cores.
    "AIRFLOW__CORE__PARALLELISM": "8",
    # The default asks the name service, which on a machine without one takes seconds each time.
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
    # At low load a run's duration is this pause, once per level of tasks.
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    # Its server would listen on all interfaces; health is asked of the API server and the database.
    "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
    # The default looks for new DAG files every five minutes.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    # Earlier versions of Great Expectations reported their use to its makers; this one does not.
    "GX_ANALYTICS_ENABLED": "False",
}
#: The arguments of each long-running component. Logs are read from the shared folder, so that the log
#: servers, which listen on all interfaces and cannot be told otherwise, are not needed.
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}


@dataclass(frozen=True)
class AirflowFolders:
    """Where Airflow finds its own data and the project's code and configuration."""

    home: Path
    dags: Path = REPOSITORY / "dags"
    plugins: Path = REPOSITORY / "plugins"
    include: Path = REPOSITORY / "include"
    config: Path = REPOSITORY / "include" / "config"

    @property
    def settings(self) -> dict[str, str]:
        """Give the folders as variables."""
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.plugins),
            "PYTHONPATH": os.pathsep.join((str(self.include), str(self.plugins))),
            "SLUICE_CONFIG": str(self.config),
            "SLUICE_CACHE": str(self.home / "sluice-cache"),
        }


def generated_secrets() -> dict[str, str]:
    """Make the keys with which one installation encrypts and signs."""
    return {
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
    }


def server_settings(port: int, database_url: str) -> dict[str, str]:
    """Give what depends on this machine: the API server's address and the metadata database."""
    return {
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}",
        # Tasks report here; it does not follow from the port by itself.
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        # No login, on loopback only.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
    }


def connection_settings(s3: S3Access, aws_endpoint: str, ledger_url: str) -> dict[str, str]:
    """Give the connections: the customer's store, the lake's store, the ledger.

    And `sluice_moto`, whose S3 is the emulator's too: the local S3 server sends no notifications.
    """
    aws = aws_connection(s3, aws_endpoint)
    moto = aws_connection(replace(s3, endpoint_url=aws_endpoint), aws_endpoint)
    return {
        "AIRFLOW_CONN_AWS_DEFAULT": aws,
        "AIRFLOW_CONN_SLUICE_LAKE": aws,
        "AIRFLOW_CONN_SLUICE_LEDGER": ledger_connection(ledger_url),
        "AIRFLOW_CONN_SLUICE_MOTO": moto,
    }
