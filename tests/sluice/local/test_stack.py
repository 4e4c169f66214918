"""The stack without Airflow: what it gives, and that nothing is left however it ends."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from launched import Launched, launch
from sqlalchemy import create_engine, text

from sluice.lake.probe import UnsafeStoreError
from sluice.local import stack as stack_module
from sluice.local.errors import AlreadyRunningError, ServiceFailedError
from sluice.local.seaweedfs import SeaweedFS
from sluice.local.stack import LocalStack

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True, scope="module")
def quick_end() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SeaweedFS, "grace_seconds", 0.0)
        yield


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack that several tests look at, and none changes."""
    folder = tmp_path_factory.mktemp("stack")
    with LocalStack(folder, with_airflow=False, config_dir=folder / "conf") as stack:
        yield stack


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which stacks start one after the other: making a database takes a second."""
    return tmp_path_factory.mktemp("used")


def test_a_restart_keeps_what_there_was_and_a_fresh_start_forgets_it_and_nothing_else(
    tmp_path: Path,
) -> None:
    lines: list[str] = []
    (tmp_path / "notes.txt").write_text("mine")
    with LocalStack(tmp_path, with_airflow=False, report=lines.append) as stack:
        keys = stack.s3.access_key, stack.s3.secret_key
        stack.s3.client().create_bucket(Bucket="kept")
        with create_engine(stack.ledger_url).begin() as connection:
            connection.execute(text("create table kept as select 1 as n"))
    assert Launched.running_in(tmp_path) == []
    with LocalStack(tmp_path, with_airflow=False, report=lines.append) as stack:
        assert (stack.s3.access_key, stack.s3.secret_key) == keys
        with pytest.raises(AlreadyRunningError):
            LocalStack(tmp_path, with_airflow=False, fresh=True).start()
        assert [bucket["Name"] for bucket in stack.s3.client().list_buckets()["Buckets"]] == ["kept"]
        with create_engine(stack.ledger_url).connect() as connection:
            assert connection.scalar(text("select n from kept")) == 1
        stack.postgres.create_database("old")
    # The two starts, and not a word of disorder.
    assert [line.split(" at ")[0] for line in lines] == ["S3", "S3"]

    with LocalStack(tmp_path, with_airflow=False, fresh=True) as stack:
        assert stack.s3.client().list_buckets()["Buckets"] == []
        assert stack.s3.access_key != keys[0]
        with stack.postgres.connect() as connection:
            assert "old" not in connection.scalars(text("select datname from pg_database")).all()
        with create_engine(stack.ledger_url).connect() as connection:
            assert connection.scalar(text("select to_regclass('kept')")) is None
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_environment_names_each_service(running: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    environment = running.environment
    aws = json.loads(environment["AIRFLOW_CONN_AWS_DEFAULT"])
    services = aws["extra"]["service_config"]
    assert services["s3"]["endpoint_url"] == running.s3.endpoint_url
    others = {services[name]["endpoint_url"] for name in ("sqs", "kinesis", "sts", "iam", "kms", "ses")}
    assert others == {running.aws_endpoint}
    assert aws["login"] == running.s3.access_key
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == running.postgres.url("airflow")
    assert environment["SLUICE_CONFIG"] == str(running.data_dir / "conf")
    assert "AWS_PROFILE" not in environment
    assert running.s3.secret_key not in repr(running.s3)


def test_the_callers_profile_does_not_reach_the_client(
    running: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[profile production]\nendpoint_url = http://127.0.0.1:9\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for profile in ("production", "missing"):
        monkeypatch.setenv("AWS_PROFILE", profile)
        running.s3.client().list_buckets()


def test_another_terminal_can_take_over_the_settings(running: LocalStack) -> None:
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    assert stat.S_IMODE(running.environment_file.stat().st_mode) == 0o600
    command = ["/bin/sh", "-c", f'. "{running.environment_file}"; exec "{sys.executable}" -c "{show}"']
    seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert {key: seen.get(key) for key in running.settings} == running.settings


def test_a_second_stack_is_refused_and_the_first_one_lives_on(running: LocalStack) -> None:
    for second, reason in (
        (
            LocalStack(running.data_dir, with_airflow=False),
            f"^Sluice already runs in {running.data_dir}: pid ",
        ),
        (running, "started by this very program$"),
    ):
        with pytest.raises(AlreadyRunningError, match=reason) as caught:
            second.start()
        assert "\n" not in str(caught.value)
    running.check()
    running.s3.client().list_buckets()


def test_a_service_that_fails_at_start_takes_the_others_down(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SeaweedFS, "command", lambda self: ["/bin/sh", "-c", "echo no space left; exit 1"])
    stack = LocalStack(used, with_airflow=False)
    with pytest.raises(
        ServiceFailedError, match=r"^seaweedfs ended with exit code 1; its log is .*\n    no space left$"
    ):
        stack.start()
    assert Launched.running_in(used) == []
    assert (stack.postgres.pid, stack.moto.pid) == (None, None)
    assert not stack.environment_file.exists()
    assert stack.data_dir.joinpath("stack.lock").read_text() == ""


def test_a_store_without_conditional_puts_is_refused_and_everything_ends(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(client: object, bucket: str) -> None:
        raise UnsafeStoreError(f"no conditional puts in {bucket}")

    monkeypatch.setattr(stack_module, "probe_conditional_puts", refuse)
    with pytest.raises(UnsafeStoreError, match="no conditional puts in sluice-probe-"):
        LocalStack(used, with_airflow=False).start()
    assert Launched.running_in(used) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_the_launcher_gets(number: signal.Signals, used: Path) -> None:
    with launch(used, with_airflow=False) as launched:
        assert len(launched.ports) == 9  # eight of SeaweedFS, and moto
        launched.end(number)
        assert launched.stopped_in_order()


def test_after_a_killed_launcher_the_next_start_says_so_and_notices_a_service_that_dies(used: Path) -> None:
    with launch(used, with_airflow=False) as launched:
        launched.process.kill()
        launched.process.wait()
        lines: list[str] = []
        with LocalStack(used, with_airflow=False, report=lines.append) as stack:
            stack.s3.client().list_buckets()
            stack.moto.ask_to_stop()
            with pytest.raises(ServiceFailedError, match=r"^moto ended with exit code \d+"):
                stack.wait()
        assert lines[0].startswith(f"The last run in {used} did not stop in order")
