"""`sluice import …` on a real S3 server, a real lake and ledger, with connections from the environment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from loading import check_and_load

from sluice.access.connections import EnvironmentAccess
from sluice.cli import cli
from sluice.errors import SluiceError
from sluice.imports.convert import convert_batch
from sluice.imports.discovery import discover
from sluice.imports.report import report_run
from sluice.imports.session import ImportRun
from sluice.lake import Lake
from sluice.ledger import Ledger
from sluice.ledger.files import holder_of
from sluice.ledger.registry import passed_test
from sluice.local.connections import aws_connection, ledger_connection
from sluice.quality.gate import QualityStopped

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

INCLUDE = Path(__file__).parents[2] / "include"
GOOD = '{"kind": "open", "user": "user-1", "time": 1357034400000}'
Sluice = Callable[..., str]


def write_converter(folder: Path, event_type: object = "kind") -> None:
    function = {"event_type": event_type, "user_id": "user", "time": "time"}
    config = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": function}
    document = {"converterConfig": config, "keyValidatorConfig": {"filterPattern": r".*\.json"}}
    (folder / "converters" / "shop.json").write_text(json.dumps(document))


@pytest.fixture
def folder(tmp_path: Path, bucket: str) -> Path:
    """A configuration with one source."""
    folder = tmp_path / "config"
    for name in ("imports", "converters"):
        (folder / name).mkdir(parents=True)
    projects = {
        "organisations": [{"id": 1, "name": "Shop"}],
        "projects": [{"id": 187520, "name": "Shop", "organisation": 1}],
    }
    source = {
        "id": "shop", "name": "Shop", "owner": "data@example.com", "project": 187520, "bucket": bucket,
        "prefix": "in/", "region": "us-east-1", "account": "own", "converter": "shop.json",
        "size_policy": "ignore", "error_budget": 0.5,
    }  # fmt: skip
    (folder / "projects.yaml").write_text(yaml.safe_dump(projects))
    (folder / "lake.yaml").write_text(yaml.safe_dump({"uri": str(tmp_path / "lake")}))
    (folder / "imports" / "shop.yaml").write_text(yaml.safe_dump(source))
    write_converter(folder)
    return folder


def use_lake_on_s3(folder: Path, bucket: str) -> None:
    (folder / "lake.yaml").write_text(yaml.safe_dump({"uri": f"s3://{bucket}/lake"}))


@pytest.fixture
def environment(folder: Path, s3_access: Any, postgres_ledger_url: str) -> dict[str, str]:
    """What the local stack's `environment` file sets."""
    return {
        "PYTHONPATH": str(INCLUDE),
        "SLUICE_CONFIG": str(folder),
        "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(s3_access),
        "AIRFLOW_CONN_SLUICE_LAKE": aws_connection(s3_access),
        "AIRFLOW_CONN_SLUICE_LEDGER": ledger_connection(postgres_ledger_url),
    }


@pytest.fixture
def sluice(environment: dict[str, str], s3_access: Any) -> Sluice:
    """Run `sluice import …`; its output, or what it failed with."""

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner(env=environment).invoke(cli, ["import", *arguments])
        assert done.exception is None or isinstance(done.exception, (SluiceError, SystemExit)), done.exc_info
        output = f"{done.output}{done.exception if isinstance(done.exception, SluiceError) else ''}"
        assert done.exit_code == code, output
        assert s3_access.secret_key not in output
        return output

    return run


def test_it_works_in_a_shell_with_the_stack_s_environment(
    environment: dict[str, str], folder: Path, bucket: str
) -> None:
    use_lake_on_s3(folder, bucket)
    for arguments, code, text in (
        (("status",), 0, "never"),
        (("retry", "shop", "in/a.json"), 1, f"Error: s3://{bucket}/in/a.json was never found"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "sluice", "import", *arguments],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert text in done.stdout + done.stderr


def import_all(folder: Path, environment: dict[str, str], name: str) -> Lake:
    access = EnvironmentAccess(folder, environ=environment)
    access.lake.create()
    run = ImportRun.open(access, "shop", name)
    for batch in discover(run).batches:
        convert_batch(run, batch, holder_of(name, batch.number))
    check_and_load(run)
    return access.lake


def put(s3: S3Client, bucket: str, name: str, *lines: str) -> None:
    s3.put_object(Bucket=bucket, Key=f"in/{name}", Body="\n".join(lines).encode())


def test_a_failed_file_is_seen_and_retried(
    sluice: Sluice, s3: S3Client, bucket: str, folder: Path, environment: dict[str, str]
) -> None:
    use_lake_on_s3(folder, bucket)
    put(s3, bucket, "a.json", GOOD, GOOD.replace("user-1", "user-2"), "{broken\r")
    put(s3, bucket, "b.json", GOOD.replace("kind", "type"), GOOD)
    put(s3, bucket, "c.json", f"[{GOOD}]")
    write_converter(folder, ["value", None])
    put(s3, bucket, "d.json", GOOD)
    lake = import_all(folder, environment, "run-1")
    assert lake.events().count() == 0
    assert sluice("files", "shop").count("failed") == 4

    # The converter is repaired; the files that it spoiled are taken up again by the new one.
    write_converter(folder)
    for name in ("a", "b"):
        assert "the next run of import_s3__shop takes it up" in sluice("retry", "shop", f"in/{name}.json")
    # Saying it twice changes nothing.
    assert "the next run of import_s3__shop takes it up" in sluice("retry", "shop", "in/a.json")
    assert "is discovered: only failed files" in sluice("give-up", "shop", "in/a.json", code=1)
    # Meanwhile no row of theirs counts: the rejects of d.json alone are those of its last load.
    assert sluice("rejects", "shop").count("in/d.json, row") == 1
    assert "in/a.json" not in sluice("rejects", "shop")
    import_all(folder, environment, "run-2")
    assert lake.events().count() == 3

    status = sluice("status")
    assert [cell.strip() for cell in status.splitlines()[3].split("│")[1:5]] == ["shop", "0", "0", "2"]
    listing = sluice("files", "shop", "--state", "failed")
    assert "JSON array: write one object per line" in listing
    assert "in/c.json" in listing
    assert "in/a.json" not in listing
    done = sluice("files", "shop", "--state", "done").splitlines()[1]
    assert done.split()[:6] == ["done", "3", "2", "0", "0", "1"]

    # One rejected row each, of the last attempt only.
    rows = [json.loads(line) for line in sluice("rejects", "shop", "--json").splitlines()]
    assert sorted((row["key"], row["row"], row["raw"]) for row in rows if row["key"] != "in/d.json") == [
        ("in/a.json", 2, "{broken"),
        ("in/b.json", 0, GOOD.replace("kind", "type")),
    ]
    assert "is done: its rows are in the lake" in sluice("retry", "shop", "in/a.json", code=1)
    assert "is done: its rows are in the lake" in sluice("give-up", "shop", "in/a.json", code=1)
    for command in ("retry", "give-up"):
        assert "was never found" in sluice(command, "shop", "in/z.json", code=1)

    # One that nobody will mend is given up, and that can be taken back.
    sluice("give-up", "shop", "in/c.json", "--why", "the shop sends it anew", "--by", "ann")
    sluice("give-up", "shop", "in/c.json", "--by", "bob")
    listing = sluice("files", "shop", "--state", "given_up")
    assert "Given up by ann on " in listing
    assert "(the shop sends it anew). It had failed: The file is a JSON array" in listing
    assert "in/c.json" not in sluice("files", "shop", "--state", "failed")

    # A broken file may be uploaded anew under its name before the retry.
    put(s3, bucket, "c.json", GOOD)
    sluice("retry", "shop", "in/c.json")
    import_all(folder, environment, "run-3")
    assert lake.events().count() == 4

    # Rejected rows leave as files, and come again from the lake.
    shown = sluice("rejects", "shop", "in/b.json", "--export", str(folder / "mend"))
    assert "shop-rejects-1.json: 1 rows" in shown
    assert (folder / "mend" / "shop-rejects-1.json").read_text() == GOOD.replace("kind", "type") + "\n"
    write_converter(folder, ["any", "kind", "type"])
    assert "in/b.json: 1 rejected rows wait\n" in sluice("again", "shop", "in/b.json")
    assert "in/b.json: 1 rejected rows wait already" in sluice("again", "shop", "in/b.json")
    assert "no rejected rows that are open" in sluice("again", "shop", "in/c.json", code=1)
    import_all(folder, environment, "run-4")
    assert lake.events().count() == 5
    assert "in/b.json (its rejected rows, 1)" in sluice("files", "shop", "--state", "done")
    assert "in/b.json" not in sluice("rejects", "shop")

    s3.delete_object(Bucket=bucket, Key="in/d.json")
    assert "is not there" in sluice("retry", "shop", "in/d.json", code=1)


def test_a_file_outside_the_limits_is_not_retried(
    sluice: Sluice, s3: S3Client, bucket: str, folder: Path, environment: dict[str, str]
) -> None:
    path = folder / "imports" / "shop.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"size_policy": "reject"}))
    put(s3, bucket, "a.json", GOOD)
    lake = import_all(folder, environment, "run-1")
    assert "more than 1,000,000" in sluice("retry", "shop", "in/a.json", code=1)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"size_policy": "warn"}))
    sluice("retry", "shop", "in/a.json")
    import_all(folder, environment, "run-2")
    assert lake.events().count() == 1


def test_a_preview_shows_keys_and_rows_as_the_import_takes_them(
    sluice: Sluice, s3: S3Client, bucket: str, folder: Path, environment: dict[str, str]
) -> None:
    # It is a look before the first run, which makes the ledger and the lake.
    use_lake_on_s3(folder, bucket)
    del environment["AIRFLOW_CONN_SLUICE_LEDGER"], environment["AIRFLOW_CONN_SLUICE_LAKE"]
    assert "Nothing matches .*\\.json: check bucket and prefix" in sluice("preview", "shop", code=1)
    put(s3, bucket, "readme.txt", "no data")
    assert "in/readme.txt (7 bytes)" in sluice("preview", "shop", code=1)
    put(s3, bucket, "a.json", GOOD, "{broken", GOOD.replace("user-1", "na"), "")
    put(s3, bucket, "b.json", f"[{GOOD}]")
    put(s3, bucket, "c.json", *[GOOD] * 20)
    shown = sluice("preview", "shop")
    assert f"3 objects of s3://{bucket}/in/ match:" in shown
    assert f"1 objects of s3://{bucket}/in/ do not match:" in shown
    assert '"event_type": "open"' in shown
    assert "rejected: is not JSON" in shown
    assert "rejected: user_id: neither user_id" in shown
    assert "the file fails: The file is a JSON array" in shown
    assert shown.count('"kind": "open"') == 8
    assert "row 5" in shown
    assert "row 6" not in shown


def test_duplicates_are_shown_beside_the_rows_that_stayed(
    sluice: Sluice, s3: S3Client, bucket: str, folder: Path, environment: dict[str, str]
) -> None:
    path = folder / "converters" / "shop.json"
    document = json.loads(path.read_text())
    document["converterConfig"]["convertToAmplitudeFunc"] |= {"insert_id": "id"}
    path.write_text(json.dumps(document))
    first = GOOD.replace("{", '{"id": "one", ')
    put(s3, bucket, "a.json", first)
    put(s3, bucket, "b.json", first.replace("open", "close"), first)
    assert "never tested" in sluice("status")
    sluice("enable", "shop")
    import_all(folder, environment, "run-1")
    shown = sluice("duplicates", "shop")
    assert "in/b.json, row 0: insert_id one, device " in shown
    assert f"stayed: s3://{bucket}/in/a.json, row 0 of shop, loaded 20" in shown
    assert "it differs in event_type" in shown
    assert "it says the same" in shown
    assert "2 rows in the sample" in shown
    rows = [json.loads(line) for line in sluice("duplicates", "shop", "--json").splitlines()]
    assert sorted((row["key"], row["row"], row["differs"]) for row in rows) == [
        ("in/b.json", 0, True), ("in/b.json", 1, False),
    ]  # fmt: skip
    write_converter(folder)
    assert "changed since its test" in sluice("status")


def test_a_source_is_enabled_by_real_rows(
    sluice: Sluice, s3: S3Client, bucket: str, folder: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    # Before the first run there is no ledger: enabling makes it.
    environment["SLUICE_LEDGER_URL"] = f"sqlite:///{tmp_path}/ledger.db"
    put(s3, bucket, "readme.txt", "no data")
    refusal = sluice("enable", "shop", code=1)
    assert "none of the 1 objects" in refusal
    assert "sluice import preview shop" in refusal
    put(s3, bucket, "a.json", "{broken", GOOD.replace("kind", "type"))
    put(s3, bucket, "b.json", f"[{GOOD}]")
    refusal = sluice("enable", "shop", code=1)
    assert "in/a.json: of 2 rows looked at, 0 become events, 0 are ignored, 2 rejected" in refusal
    assert "1 × event_type: is missing" in refusal
    assert "the file fails: The file is a JSON array" in refusal
    put(s3, bucket, "c.json", *["{broken"] * 2, GOOD)
    assert "is no file of the source" in sluice("enable", "shop", "in/readme.txt", code=1)
    assert "is not there" in sluice("enable", "shop", "in/z.json", code=1)
    shown = sluice("enable", "shop", "in/c.json")
    assert "Warning: that is more than the error budget of 50.0%" in shown
    assert "shop is enabled: the converter shop.json passed" in shown
    assert "until imports/shop.yaml says enabled: true" in shown
    passed = passed_test(Ledger.open(environment["SLUICE_LEDGER_URL"]), "shop")
    assert passed is not None
    assert list(passed.keys) == ["in/c.json"]


def test_a_changed_converter_counts_from_its_own_test_on(
    sluice: Sluice, s3: S3Client, bucket: str, folder: Path, environment: dict[str, str], caplog: Any
) -> None:
    put(s3, bucket, "a.json", GOOD)
    sluice("enable", "shop")
    lake = import_all(folder, environment, "run-1")
    write_converter(folder, ["value", "changed"])
    put(s3, bucket, "b.json", GOOD)
    import_all(folder, environment, "run-2")
    assert "has changed and is not tested" in caplog.text
    assert lake.events().to_pyarrow_table().column("event_type").to_pylist() == ["open", "open"]
    sluice("enable", "shop")
    put(s3, bucket, "c.json", GOOD)
    import_all(folder, environment, "run-3")
    kinds = lake.events().to_pyarrow_table().column("event_type").to_pylist()
    assert sorted(kinds) == ["changed", "open", "open"]


def test_a_prefix_that_lacks_its_slash_is_noticed(
    sluice: Sluice, s3: S3Client, bucket: str, folder: Path
) -> None:
    path = folder / "imports" / "shop.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"prefix": "in"}))
    put(s3, bucket, "a.json", GOOD)
    assert "all of them lie below in/. If that folder is meant, say prefix: in/" in sluice("preview", "shop")
    s3.put_object(Bucket=bucket, Key="inbox/a.json", Body=GOOD.encode())
    assert "Warning" not in sluice("preview", "shop")


def test_a_taxonomy_rejects_and_warns_and_the_report_says_so(
    sluice: Sluice, s3: S3Client, bucket: str, folder: Path, environment: dict[str, str]
) -> None:
    projects = yaml.safe_load((folder / "projects.yaml").read_text())
    projects["projects"][0]["taxonomy"] = "shop.yaml"
    (folder / "projects.yaml").write_text(yaml.safe_dump(projects))
    (folder / "taxonomies").mkdir()
    plan = folder / "taxonomies" / "shop.yaml"
    plan.write_text("event_types: {close: {}}\nunplanned: {event_types: reject}\n")
    put(s3, bucket, "a.json", GOOD, GOOD.replace("open", "close"))
    assert "rejected: event_type: open is not planned in the project's taxonomy" in sluice("preview", "shop")
    assert "1 × event_type: open is not planned" in sluice("enable", "shop")
    lake = import_all(folder, environment, "run-1")
    assert lake.events().to_pyarrow_table().column("event_type").to_pylist() == ["close"]
    assert "event_type: open is not planned in the project's taxonomy" in sluice("rejects", "shop")
    plan.write_text("event_types: {close: {}}\n")
    put(s3, bucket, "b.json", GOOD, GOOD.replace("user-1", "user-2"))
    import_all(folder, environment, "run-2")
    report = report_run(ImportRun.open(EnvironmentAccess(folder, environ=environment), "shop", "run-2"))
    assert "warning: 2 × event_type: open is not planned" in "\n".join(report.lines())


def test_held_files_are_seen_discarded_and_retried(
    sluice: Sluice, s3: S3Client, bucket: str, folder: Path, environment: dict[str, str]
) -> None:
    put(s3, bucket, "a.json", GOOD.replace("1357034400000", "1357034400"))
    with pytest.raises(QualityStopped):
        import_all(folder, environment, "run-1")
    assert sluice("files", "shop").splitlines()[1].split()[0] == "held"
    assert "held by its quality gate: load of shop, run import_s3__shop/run-1" in sluice("status")
    assert "waits behind the quality gate of the run run-1" in sluice("retry", "shop", "in/a.json", code=1)

    def discard() -> str:
        words = ["quality", "discard", "import_s3__shop/run-1", "--reason", "seconds", "--by", "ann"]
        done = CliRunner(env=environment).invoke(cli, words)
        assert done.exit_code == 0, done.output
        return done.output

    assert "Discarded by ann: the load of shop" in discard()
    listing = sluice("files", "shop", "--state", "failed")
    assert "Stopped by the quality gate: expect_column_values_to_be_between" in listing
    assert "discarded by ann: seconds" in listing
    put(s3, bucket, "a.json", GOOD)
    sluice("retry", "shop", "in/a.json")
    assert import_all(folder, environment, "run-2").events().count() == 1
