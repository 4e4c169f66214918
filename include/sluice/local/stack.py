"""All local services together: started in the right order, stopped whatever happens."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from sluice.lake.probe import probe_conditional_puts
from sluice.local.airflow import AirflowComponent, Migration
from sluice.local.airflow_settings import (
    COMPONENTS,
    FIXED_SETTINGS,
    REPOSITORY,
    AirflowFolders,
    connection_settings,
    generated_secrets,
    server_settings,
)
from sluice.local.environment import clean_environment
from sluice.local.errors import AlreadyRunningError
from sluice.local.files import made_once, write_private
from sluice.local.lock import DataDirLock
from sluice.local.moto import Moto
from sluice.local.pids import end_leftovers
from sluice.local.ports import HOST, preferred_port
from sluice.local.postgres import Postgres
from sluice.local.process import Program
from sluice.local.seaweedfs import S3Access, SeaweedFS
from sluice.local.signals import EndingSignals

DEFAULT_DATA_DIR = REPOSITORY / ".sluice"
UI_PORT = 8080
CHECK_SECONDS = 1.0


class LocalStack:
    """SeaweedFS, moto, PostgreSQL and Airflow on loopback, as a context manager.

    While it runs, Ctrl-C, SIGTERM and SIGHUP are exceptions in the main thread, so that leaving the
    `with` block ends every process. `fresh` throws away what earlier stacks wrote into the data
    directory, unless one runs in it. `report` receives one line per thing that happened.
    """

    def __init__(
        self,
        data_dir: Path = DEFAULT_DATA_DIR,
        *,
        ui_port: int = UI_PORT,
        config_dir: Path | None = None,
        dags_folder: Path | None = None,
        with_airflow: bool = True,
        fresh: bool = False,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.with_airflow = with_airflow
        self.fresh = fresh
        self.report = report
        self.seaweedfs = SeaweedFS(self.data_dir)
        self.moto = Moto(self.data_dir)
        self.postgres = Postgres(self.data_dir)
        self.airflow: list[AirflowComponent] = []
        self.folders = AirflowFolders(self.data_dir / "airflow")
        if dags_folder is not None:
            self.folders = replace(self.folders, dags=dags_folder.absolute())
        if config_dir is not None:
            self.folders = replace(self.folders, config=config_dir.absolute())
        self.settings: dict[str, str] = {}
        self._ui_port_wanted = ui_port
        self._port = ui_port
        self._running: list[Program] = []
        self.environment_file = self.data_dir / "environment"
        self._lock = DataDirLock(self.data_dir)
        self._signals = EndingSignals()

    @property
    def s3(self) -> S3Access:
        """Endpoint, keys and region of the S3 server."""
        return self.seaweedfs.access

    @property
    def aws_endpoint(self) -> str:
        """The URL of the other AWS services."""
        return self.moto.endpoint

    @property
    def ledger_url(self) -> str:
        """The SQLAlchemy URL of the ledger's database."""
        return self.postgres.url("sluice")

    @property
    def airflow_url(self) -> str:
        """Where Airflow's UI and API are."""
        return f"http://{HOST}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The full environment for Airflow's and Sluice's command lines against this stack."""
        environment = clean_environment(self.settings)
        environment["PATH"] = os.pathsep.join(
            (str(Path(sys.executable).parent), environment.get("PATH", os.defpath))
        )
        return environment

    def start(self) -> Self:
        """Start everything and wait until it is healthy; on failure nothing is left running."""
        if self._running:
            raise AlreadyRunningError(f"Sluice already runs in {self.data_dir}, started by this very program")
        self._signals.catch()
        try:
            self._acquire()
            self._start_services()
            if self.with_airflow:
                self._start_airflow()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everything that was started, Airflow first; harmless if nothing runs."""
        self._signals.ignore()
        airflow = [service for service in self._running if isinstance(service, AirflowComponent | Migration)]
        for group in (airflow, [service for service in self._running if service not in airflow]):
            for service in group:
                service.ask_to_stop()
            for service in group:
                service.stop()
        if self._running:
            self.environment_file.unlink(missing_ok=True)
        self._running.clear()
        self.airflow.clear()
        self._lock.release()
        self._signals.restore()

    def check(self) -> None:
        """Raise an error if a service has ended by itself."""
        for service in self._running:
            service.check()

    def wait(self) -> None:
        """Stay up until a signal ends this (as an exception) or a service fails."""
        while True:
            self.check()
            time.sleep(CHECK_SECONDS)

    def _acquire(self) -> None:
        self._port = preferred_port(self._ui_port_wanted) if self.with_airflow else self._ui_port_wanted
        crashed = self._lock.acquire(self.airflow_url if self.with_airflow else "no port")
        left = end_leftovers(self.data_dir / "run")
        if self.fresh:
            self._wipe()
        if crashed or left:
            ended = f"; waited for the end of {', '.join(left)}" if left else ""
            self.report(f"The last run in {self.data_dir} did not stop in order{ended}.")
        if self._port != self._ui_port_wanted:
            self.report(f"Port {self._ui_port_wanted} is taken: Airflow takes {self._port}.")

    def _wipe(self) -> None:
        """Remove what earlier stacks wrote, and nothing else that somebody keeps in the directory."""
        self.seaweedfs.remove_sockets()
        homes = (self.seaweedfs.home, self.moto.home, self.postgres.home, self.folders.home)
        for folder in (*homes, self.data_dir / "logs", self.data_dir / "run"):
            if folder.exists():
                shutil.rmtree(folder)

    def _start_services(self) -> None:
        began = time.monotonic()
        for service in (self.postgres, self.seaweedfs, self.moto):
            self._spawn(service)
        self.postgres.wait_ready()
        databases = [self.postgres.create_database(name) for name in ("airflow", "sluice")]
        self.settings = self._settings(databases[0])
        self._write_environment()
        # It needs PostgreSQL alone, so it runs while S3 comes up.
        migration = Migration(self.data_dir, self.settings)
        if self.with_airflow:
            self._spawn(migration)
        self.moto.wait_ready()
        self.seaweedfs.wait_ready()
        self._probe_store()
        self.report(
            f"S3 at {self.s3.endpoint_url}, other AWS services at {self.aws_endpoint}, PostgreSQL at"
            f" {self.postgres.socket} ({time.monotonic() - began:.1f} s)"
        )
        if self.with_airflow:
            migration.wait_done()
            self._running.remove(migration)

    def _start_airflow(self) -> None:
        began = time.monotonic()
        self.airflow = [
            AirflowComponent(self.data_dir, name, self.settings, self._port) for name in COMPONENTS
        ]
        for component in self.airflow:
            self._spawn(component)
        for component in self.airflow:
            component.wait_ready()
        self.report(f"Airflow at {self.airflow_url} ({time.monotonic() - began:.1f} s)")

    def _spawn(self, service: Program) -> None:
        self._running.append(service)
        service.spawn()

    def _write_environment(self) -> None:
        """Let other terminals take over the settings: `. .sluice/environment`."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in self.settings.items()]
        write_private(self.environment_file, "".join(lines))

    def _settings(self, database_url: str) -> dict[str, str]:
        return {
            **FIXED_SETTINGS,
            **self.folders.settings,
            **made_once(self.data_dir / "airflow" / "secrets.json", generated_secrets),
            **server_settings(self._port, database_url),
            **connection_settings(self.s3, self.aws_endpoint, self.ledger_url),
        }

    def _probe_store(self) -> None:
        client, bucket = self.s3.client(), f"sluice-probe-{uuid.uuid4().hex[:12]}"
        client.create_bucket(Bucket=bucket)
        try:
            probe_conditional_puts(client, bucket)
        finally:
            client.delete_bucket(Bucket=bucket)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
