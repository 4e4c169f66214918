"""PostgreSQL on a Unix socket that only its owner reaches; no TCP port at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine, text

from sluice.local import unprivileged
from sluice.local.environment import clean_environment
from sluice.local.errors import IncompleteEnvironmentError, ServiceFailedError
from sluice.local.postgres_programs import PostgresPrograms, find_postgres
from sluice.local.process import Service

PORT = 5432
USER = "postgres"
# The kernel's limit for the path of a Unix socket is 107 bytes, 103 on macOS.
LONGEST_SOCKET_PATH = 100
# PostgreSQL refuses to run as root; this user is in every system.
USER_FOR_ROOT = "nobody"
NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def socket_folder(data_dir: Path) -> Path:
    """Choose the socket's folder: below the data directory, or a short one if that path is too long."""
    inside = data_dir.absolute() / Postgres.name / "socket"
    if len(os.fsencode(inside / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(inside)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sluice-{os.getuid()}-{digest}"


def sqlalchemy_url(data_dir: Path, database: str) -> str:
    """Give the SQLAlchemy URL of a database of the server in `data_dir`, running or not."""
    return f"postgresql+psycopg2://{USER}:@/{database}?host={socket_folder(data_dir)}"


class Postgres(Service):
    """One PostgreSQL server; `durable=False` trades safety in a power cut for speed."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": SIGTERM would wait for every client to leave

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        super().__init__(data_dir)
        self.cluster = self.home / "data"
        self.socket = socket_folder(self.data_dir)
        self.durable = durable

    def url(self, database: str = USER) -> str:
        """Give the SQLAlchemy URL of one database."""
        return sqlalchemy_url(self.data_dir, database)

    def prepare(self) -> None:
        """Find the programs and make the data directory whole."""
        self.programs = find_postgres()
        self._make_folder(self.socket)
        if not self.cluster.exists():
            self._initialise()
        self._require_fitting_cluster(self.programs)

    def command(self) -> Sequence[str]:
        """Run the server on the socket alone."""
        settings = [
            "listen_addresses=",
            f"unix_socket_directories={self.socket}",
            f"port={PORT}",
            "max_connections=200",
        ]
        settings += ["timezone=UTC", "log_timezone=UTC", *(() if self.durable else NOT_DURABLE)]
        options = [word for setting in settings for word in ("-c", setting)]
        return self._as_owner([str(self.programs.folder / "postgres"), "-D", str(self.cluster), *options])

    def probe(self) -> None:
        """Ask the server for a row."""
        with self.connect() as connection:
            connection.execute(text("select 1"))

    @contextlib.contextmanager
    def connect(self, database: str = USER) -> Iterator[Connection]:
        """Open a connection of its own, where each statement commits."""
        engine = create_engine(
            self.url(database),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": 5},
        )
        with engine.connect() as connection:
            yield connection

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database unless it exists, empty or as a copy of another; give its URL."""
        with self.connect() as connection:
            known = connection.scalars(text("select datname from pg_database")).all()
            if name not in known:
                copied = f' template "{template}"' if template else ""
                connection.execute(text(f'create database "{name}"{copied}'))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, and whoever is connected to it."""
        with self.connect() as connection:
            connection.execute(text(f'drop database if exists "{name}" with (force)'))

    def after_stop(self) -> None:
        """Remove a socket folder that had to be made outside the data directory."""
        if self.socket.parent != self.home:
            shutil.rmtree(self.socket, ignore_errors=True)

    def _initialise(self) -> None:
        """Make the cluster beside its place and move it there when it is whole."""
        half = self.cluster.with_name("data.new")
        shutil.rmtree(half, ignore_errors=True)
        self._make_folder(half)
        log = self.data_dir / "logs" / "initdb.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [str(self.programs.folder / "initdb"), "-D", str(half), "-U", USER, "--auth=trust"]
        command += ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        with log.open("wb") as output:
            made = subprocess.run(
                self._as_owner(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
                cwd=self.home,
                check=False,
            )
        if made.returncode != 0:
            raise ServiceFailedError("initdb", f"ended with exit code {made.returncode}", log)
        half.replace(self.cluster)

    def _require_fitting_cluster(self, programs: PostgresPrograms) -> None:
        try:
            version = (self.cluster / "PG_VERSION").read_text().strip()
        except OSError as error:
            raise IncompleteEnvironmentError(
                f"{self.cluster} is no PostgreSQL data directory; remove it and start again, it is made anew"
            ) from error
        if version != str(programs.version):
            raise IncompleteEnvironmentError(
                f"{self.cluster} was made by PostgreSQL {version}, but {programs.folder} is PostgreSQL"
                f" {programs.version}; remove the folder and start again, or install version {version}"
            )

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid not in {os.getuid(), *(self._owner() or ())}:
            raise IncompleteEnvironmentError(
                f"{folder} belongs to another user; remove it or choose another data directory"
            )
        folder.chmod(0o700)
        if owner := self._owner():
            os.chown(folder, *owner)

    def _owner(self) -> tuple[int, int] | None:
        """Give uid and gid of the user to run as; None is the caller itself."""
        if os.geteuid() != 0:
            return None
        try:
            user = pwd.getpwnam(USER_FOR_ROOT)
        except KeyError as error:
            raise IncompleteEnvironmentError(
                f"PostgreSQL does not run as root, and there is no user {USER_FOR_ROOT}; use an ordinary user"
            ) from error
        return user.pw_uid, user.pw_gid

    def _as_owner(self, command: list[str]) -> list[str]:
        owner = self._owner()
        if owner is None:
            return command
        return [sys.executable, "-I", "-S", unprivileged.__file__, *map(str, owner), *command]
