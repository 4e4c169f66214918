"""The stack without Airflow: what it gives, and that nothing is left however it ends."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from sluice.lake.probe import UnsafeStoreError
from sluice.local import stack as stack_module
from sluice.local.errors import AlreadyRunningError, ServiceFailedError
from sluice.local.seaweedfs import SeaweedFS
from sluice.local.stack import LocalStack

from .launched import Launched, launch

pytestmark = pytest.mark.integration


def test_what_a_stack_gives_and_that_it_is_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    with LocalStack(tmp_path, with_airflow=False, report=lines.append) as stack:
        keys = stack.s3.access_key, stack.s3.secret_key
        stack.s3.client().create_bucket(Bucket="kept")
        with create_engine(stack.ledger_url).begin() as connection:
            connection.execute(text("create table kept as select 1 as n"))
        assert stack.settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == stack.postgres.url("airflow")
    assert [line.split(" at ")[0] for line in lines] == ["S3"]
    with LocalStack(tmp_path, with_airflow=False, report=lines.append) as stack:
        assert (stack.s3.access_key, stack.s3.secret_key) == keys
        assert [bucket["Name"] for bucket in stack.s3.client().list_buckets()["Buckets"]] == ["kept"]
        with create_engine(stack.ledger_url).connect() as connection:
            assert connection.scalar(text("select n from kept")) == 1
    assert len(lines) == 2


def test_the_environment_names_each_service_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    with LocalStack(tmp_path, with_airflow=False, config_dir=tmp_path / "conf") as stack:
        environment = stack.environment
        aws = json.loads(environment["AIRFLOW_CONN_AWS_DEFAULT"])
        services = aws["extra"]["service_config"]
        assert services["s3"]["endpoint_url"] == stack.s3.endpoint_url
        assert {
            services[name]["endpoint_url"] for name in ("sqs", "kinesis", "sts", "iam", "kms", "ses")
        } == {stack.aws_endpoint}
        assert aws["login"] == stack.s3.access_key
        assert environment["SLUICE_CONFIG"] == str(tmp_path / "conf")
        assert "AWS_PROFILE" not in environment
        assert stack.s3.secret_key not in repr(stack.s3)


def test_another_terminal_can_take_over_the_settings(tmp_path: Path) -> None:
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    with LocalStack(tmp_path, with_airflow=False) as stack:
        file = tmp_path / "environment"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        command = ["/bin/sh", "-c", f'. "{file}"; exec "{sys.executable}" -c "{show}"']
        seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        assert {key: seen.get(key) for key in stack.settings} == stack.settings
    assert not file.exists()


def test_a_second_start_of_the_same_stack_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    with LocalStack(tmp_path, with_airflow=False) as stack:
        with pytest.raises(AlreadyRunningError, match="started by this very program"):
            stack.start()
        stack.s3.client().list_buckets()


def test_a_second_stack_is_refused_and_the_first_one_lives_on(tmp_path: Path) -> None:
    with LocalStack(tmp_path, with_airflow=False) as stack:
        with pytest.raises(AlreadyRunningError, match=f"^Sluice already runs in {tmp_path}: pid ") as caught:
            LocalStack(tmp_path, with_airflow=False).start()
        assert "\n" not in str(caught.value)
        stack.check()
        stack.s3.client().list_buckets()


def test_a_service_that_fails_at_start_takes_the_others_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SeaweedFS, "command", lambda self: ["/bin/sh", "-c", "echo no space left; exit 1"])
    stack = LocalStack(tmp_path, with_airflow=False)
    with pytest.raises(
        ServiceFailedError, match=r"^seaweedfs ended with exit code 1; its log is .*\n    no space left$"
    ):
        stack.start()
    assert Launched.running_in(tmp_path) == []
    assert stack.postgres.pid is None
    assert stack.moto.pid is None
    monkeypatch.undo()
    with stack:
        stack.s3.client().list_buckets()


def test_a_store_without_conditional_puts_is_refused_and_everything_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(client: object, bucket: str) -> None:
        raise UnsafeStoreError(f"no conditional puts in {bucket}")

    monkeypatch.setattr(stack_module, "probe_conditional_puts", refuse)
    with pytest.raises(UnsafeStoreError, match="no conditional puts in sluice-probe-"):
        LocalStack(tmp_path, with_airflow=False).start()
    assert Launched.running_in(tmp_path) == []


def test_a_service_that_dies_later_is_noticed(tmp_path: Path) -> None:
    with LocalStack(tmp_path, with_airflow=False) as stack:
        stack.moto.ask_to_stop()
        with pytest.raises(ServiceFailedError, match=r"^moto ended with exit code \d+"):
            stack.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_when_the_launcher_gets(number: signal.Signals, tmp_path: Path) -> None:
    with launch(tmp_path, with_airflow=False) as launched:
        assert len(launched.ports) >= 9
        launched.end(number)
        assert launched.stopped_in_order()


def test_after_a_killed_launcher_the_next_start_says_so_and_works(tmp_path: Path) -> None:
    with launch(tmp_path, with_airflow=False) as launched:
        launched.process.kill()
        launched.process.wait()
        lines: list[str] = []
        with LocalStack(tmp_path, with_airflow=False, report=lines.append) as stack:
            stack.s3.client().list_buckets()
        assert lines[0].startswith(f"The last run in {tmp_path} did not stop in order")
