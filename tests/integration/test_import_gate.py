"""A converter at fault, from the object on S3 to the repair: the gate stops it, and nothing is doubled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fresh import fresh_lake, fresh_ledger
from loading import check_and_load

from sluice.access.access import Access
from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.imports.again import import_again
from sluice.imports.convert import convert_batch
from sluice.imports.discovery import Discovery, discover
from sluice.imports.gate import discard_held, gate_of
from sluice.imports.report import report_run
from sluice.imports.retry import retry_file
from sluice.imports.session import ImportRun
from sluice.ledger import files, quality
from sluice.ledger.files import holder_of
from sluice.quality.gate import QualityStopped

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

NOON = 1357128000000
SUITE = {
    "expectations": [
        {
            "type": "expect_column_values_to_match_regex",
            "kwargs": {"column": "event_properties.country", "regex": "^[A-Z]{2}$"},
        },
        {
            "type": "expect_column_values_to_not_be_null",
            "kwargs": {"column": "event_properties.country"},
        },
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "event_properties.amount", "min_value": 0, "max_value": 1000},
        },
    ]
}
# What the converter does, by what is wrong with it, and the expectation that says so; more of them are in
# tests/sluice/imports/test_gate.py.
TIMES, PROPERTIES = "expect_column_values_to_be_between", {"country": "country", "amount": "amount"}
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "times in seconds": ({"time": "seconds"}, TIMES),
    "the wrong column": (
        {"event_properties": PROPERTIES | {"country": "user"}},
        "expect_column_values_to_match_regex",
    ),
}

Start = Callable[[str], ImportRun]


@pytest.fixture
def converter(tmp_path: Path) -> Callable[..., None]:
    """Write the converter, with a fault or without."""

    def write(**fault: Any) -> None:
        function = {
            "event_type": ["value", "bought"],
            "user_id": "user",
            "time": "time",
            "event_properties": PROPERTIES,
        }
        config = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": function | fault}
        (tmp_path / "shop.json").write_text(json.dumps({"converterConfig": config}))

    return write


@pytest.fixture
def start(s3_store: S3Store, bucket: str, tmp_path: Path) -> Start:
    lake = fresh_lake(tmp_path / "lake")
    ledger = fresh_ledger(tmp_path / "ledger.db")
    source = ImportConfig.model_validate(
        {
            "id": "shop", "name": "Shop", "owner": "data@example.com", "project": 187520, "bucket": bucket,
            "prefix": "in/", "region": "us-east-1", "account": "own", "converter": "shop.json",
            "size_policy": "ignore", "error_budget": 0.5, "quality": SUITE,
        }
    )  # fmt: skip
    return lambda run: ImportRun(source, run, s3_store, lake, ledger, tmp_path / "shop.json")


def put(s3: S3Client, bucket: str, name: str, *, broken: int = 0) -> None:
    """Put a file of ten rows, and of some whose time is none."""
    good = {"country": "DE", "amount": 7, "time": NOON, "seconds": NOON // 1000}
    rows = [good | {"user": f"user-{n}"} for n in range(10)]
    rows += [good | {"user": f"user-{n}", "time": "never"} for n in range(broken)]
    body = "".join(f"{json.dumps(row)}\n" for row in rows)
    s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=body.encode())


def convert(run: ImportRun) -> Discovery:
    found = discover(run)
    for batch in found.batches:
        convert_batch(run, batch, holder_of(run.run, batch.number))
    return found


def go(run: ImportRun) -> int:
    convert(run)
    return check_and_load(run).counts.loaded


def rows(run: ImportRun) -> list[str]:
    ids: list[str] = run.lake.events().to_pyarrow_table(columns=["$insert_id"]).column(0).to_pylist()
    return sorted(ids)


def stop(run: ImportRun) -> str:
    """Let a run convert and be held; return what it says. Nothing of it is visible."""
    version = run.lake.events().version()
    convert(run)
    with pytest.raises(QualityStopped) as stopped:
        check_and_load(run)
    assert run.lake.events().version() == version
    return str(stopped.value)


def states(run: ImportRun) -> dict[str, str]:
    return {file.key.removeprefix("in/"): file.state for file in files.of_source(run.ledger, "shop")}


def decide(run: ImportRun, verb: Callable[..., Any]) -> None:
    """Do what `sluice quality release` or `discard` does."""
    gate = quality.find(run.ledger, gate_of(run))
    assert gate is not None
    decided = verb(run.ledger, gate, "ann", "as was seen")
    if decided.state == "discarded":
        discard_held(cast(Access, SimpleNamespace(lake=run.lake, ledger=run.ledger)), decided)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_converter_is_stopped_mended_and_its_files_loaded_once(
    start: Start, s3: S3Client, bucket: str, converter: Callable[..., None], fault: str
) -> None:
    given, expected = FAULTS[fault]
    converter(**given)
    put(s3, bucket, "a.json")
    put(s3, bucket, "b.json")
    first = start("run-1")
    said = stop(first)
    assert expected in said
    assert "sluice quality release" in said
    assert states(first) == {"a.json": "processing", "b.json": "processing"}
    # The next run passes by, and brings its own file once the converter is mended.
    converter()
    put(s3, bucket, "c.json")
    second = start("run-2")
    found = convert(second)
    assert (found.new, found.held, sum(batch.files for batch in found.batches)) == (1, 2, 1)
    assert check_and_load(second).counts.loaded == 10
    assert "2 files of other runs wait behind a quality gate." in report_run(second).note()
    decide(first, quality.discard)
    assert states(first) == {"a.json": "failed", "b.json": "failed", "c.json": "done"}
    for key in ("in/a.json", "in/b.json"):
        retry_file(start(""), key)
    third = start("run-3")
    assert go(third) == 20
    assert len(set(rows(third))) == len(rows(third)) == 30
    # The run that was stopped has nothing left to do, whoever clears it.
    assert go(first) == 0
    assert set(states(third).values()) == {"done"}
    assert list(Path(first.lake.uri, "_staging").rglob("*.parquet")) == []


def test_a_released_run_loads_what_it_has_staged_once(
    start: Start, s3: S3Client, bucket: str, converter: Callable[..., None]
) -> None:
    converter(**FAULTS["the wrong column"][0])
    put(s3, bucket, "a.json")
    run = start("run-1")
    stop(run)
    decide(run, quality.release)
    # Cleared as a whole, it converts nothing anew: what was released is what is loaded.
    assert go(run) == 10
    assert go(run) == 0
    assert go(start("run-2")) == 0
    assert len(rows(run)) == 10


def test_rejected_rows_that_come_again_pass_the_gate_as_well(
    start: Start, s3: S3Client, bucket: str, converter: Callable[..., None]
) -> None:
    converter()
    put(s3, bucket, "a.json", broken=3)
    assert go(start("run-1")) == 10
    # Now the broken times become some that are not sane.
    converter(time=["value", 1000])
    import_again(start(""))
    run = start("run-2")
    assert "expect_column_values_to_be_between" in stop(run)
    decide(run, quality.discard)
    # They are still open rejects, and come once more when the converter is mended.
    converter(time=["value", NOON])
    [taken] = import_again(start(""))
    assert (taken.rows, taken.new) == (3, True)
    assert go(start("run-3")) == 3
    assert len(set(rows(run))) == len(rows(run)) == 13
