"""PostgreSQL: half-made data is remade or named, an installed server stands in for the wheel."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, make_url, text

from sluice.local import postgres_programs
from sluice.local.errors import IncompleteEnvironmentError, ServiceFailedError
from sluice.local.postgres import LONGEST_SOCKET_PATH, Postgres, socket_folder
from sluice.local.postgres_programs import find_postgres, installed_folders


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    find_postgres.cache_clear()
    yield
    find_postgres.cache_clear()


def test_data_survive_a_restart(tmp_path: Path) -> None:
    with Postgres(tmp_path) as server:
        engine = create_engine(server.create_database("kept"))
        with engine.begin() as connection:
            connection.execute(text("create table t as select 7 as n"))
        engine.dispose()
    with Postgres(tmp_path) as server:
        assert server.create_database("kept") == server.url("kept")
        with server.connect("kept") as connection:
            assert connection.scalar(text("select n from t")) == 7


def test_it_has_no_tcp_port_and_a_private_socket(postgres: Postgres) -> None:
    assert postgres.pid is not None
    [server] = psutil.Process(postgres.pid).children()
    assert server.net_connections("unix")
    assert not server.net_connections("inet")
    assert postgres.socket.stat().st_mode & 0o077 == 0


def test_an_interrupted_initialisation_is_made_again(tmp_path: Path) -> None:
    half = tmp_path / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    with Postgres(tmp_path, durable=False) as server:
        server.probe()
    assert not half.exists()


def test_a_folder_that_is_no_cluster_is_named_and_kept(tmp_path: Path) -> None:
    foreign = tmp_path / "postgres" / "data"
    foreign.mkdir(parents=True)
    (foreign / "letter.txt").write_text("mine")
    with pytest.raises(
        IncompleteEnvironmentError, match=f"^{foreign} is no PostgreSQL data directory; remove it"
    ):
        Postgres(tmp_path).start()
    assert (foreign / "letter.txt").read_text() == "mine"


def test_a_cluster_of_another_version_is_named(tmp_path: Path) -> None:
    cluster = tmp_path / "postgres" / "data"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(
        IncompleteEnvironmentError, match=rf"^{cluster} was made by PostgreSQL 9\.6, but .* is Postgre"
    ):
        Postgres(tmp_path).start()


def test_a_damaged_cluster_shows_the_servers_own_words(tmp_path: Path) -> None:
    with Postgres(tmp_path, durable=False):
        pass
    (tmp_path / "postgres" / "data" / "global" / "pg_control").unlink()
    with pytest.raises(
        ServiceFailedError, match=r"^postgres ended with exit code \d+; its log is .*\n[\s\S]*pg_control"
    ):
        Postgres(tmp_path).start()


@pytest.mark.skipif(not installed_folders(), reason="no installed PostgreSQL server on this machine")
@pytest.mark.usefixtures("fresh_choice")
def test_an_installed_server_stands_in_for_an_unfit_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfit = tmp_path / "wheel"
    unfit.mkdir()
    (unfit / "postgres").write_text("not a program")
    monkeypatch.setattr(postgres_programs, "wheel_folder", lambda: unfit)
    with Postgres(tmp_path, durable=False) as server:
        assert server.programs.folder in installed_folders()
        server.probe()


@pytest.mark.usefixtures("fresh_choice")
def test_no_server_at_all_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres_programs, "wheel_folder", lambda: None)
    monkeypatch.setattr(postgres_programs, "installed_folders", list)
    with pytest.raises(IncompleteEnvironmentError, match=r"^no PostgreSQL server runs here: the wheel embed"):
        Postgres(tmp_path).start()


def test_a_data_directory_with_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    short = Path("/srv/sluice")
    assert socket_folder(short) == short / "postgres" / "socket"
    with Postgres(deep, durable=False) as server:
        assert len(os.fsencode(server.socket / ".s.PGSQL.5432")) <= LONGEST_SOCKET_PATH
        assert make_url(server.url()).query["host"] == str(server.socket)
        server.probe()
    assert not server.socket.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts the server as another user")
def test_started_by_root_it_runs_as_another_user_below_a_private_folder(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with Postgres(private, durable=False) as server:
        assert server.pid is not None
        [postmaster] = psutil.Process(server.pid).children()
        assert postmaster.username() == "nobody"
        server.probe()
    shutil.rmtree(private)
