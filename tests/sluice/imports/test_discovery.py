"""Planning: batches of waiting files, and the size policy."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from sluice.config import ImportConfig
from sluice.imports import discovery
from sluice.imports.discovery import BATCH_BYTES, BATCH_FILES, Batch, plan_batches, size_fault
from sluice.ledger.files import SourceFile

T0 = datetime(2013, 1, 1, tzinfo=UTC)


def source(**fields: object) -> ImportConfig:
    return ImportConfig.model_validate(
        {
            "id": "flights",
            "name": "Flights",
            "owner": "data@example.com",
            "project": 187520,
            "bucket": "customer",
            "region": "us-east-1",
            "converter": "flights.json",
            **fields,
        }
    )


def file(number: int, size: int = 1) -> SourceFile:
    facts = dict.fromkeys(SourceFile.__dataclass_fields__)
    return SourceFile(
        **facts | {"key": f"k{number}", "size": size, "last_modified": T0 + timedelta(minutes=number)}
    )  # type: ignore[arg-type]


def test_no_files_make_no_batch() -> None:
    assert plan_batches([]) == []


def test_a_batch_ends_at_500_files() -> None:
    batches = plan_batches(file(n) for n in range(BATCH_FILES + 1))
    assert [(batch.number, batch.files, batch.bytes) for batch in batches] == [
        (0, BATCH_FILES, BATCH_FILES),
        (1, 1, 1),
    ]
    assert batches[0].first == (T0, "k0")
    assert batches[0].last == (T0 + timedelta(minutes=499), "k499")
    assert batches[1].first == batches[1].last == (T0 + timedelta(minutes=500), "k500")


def test_a_batch_ends_before_512_mb_and_a_larger_file_has_its_own() -> None:
    half = BATCH_BYTES // 2
    sizes = [half, half, 1, BATCH_BYTES + 1, 5]
    batches = plan_batches(file(n, size) for n, size in enumerate(sizes))
    assert [(batch.files, batch.bytes) for batch in batches] == [
        (2, 2 * half),
        (1, 1),
        (1, BATCH_BYTES + 1),
        (1, 5),
    ]


def test_more_batches_than_airflow_maps_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MAX_BATCHES", 2)
    assert len(plan_batches(file(n, BATCH_BYTES) for n in range(5))) == 2


def test_a_batch_survives_an_xcom() -> None:
    [batch] = plan_batches([file(0), file(1)])
    assert Batch.from_json(json.loads(json.dumps(batch.as_json()))) == batch


@pytest.mark.parametrize(
    ("size", "fits"), [(1_000_000, False), (1_000_001, True), (999_999_999, True), (1_000_000_000, False)]
)
def test_both_limits_are_exclusive(size: int, fits: bool) -> None:
    fault = size_fault(source(), size)
    assert (fault is None) == fits
    assert fault is None or f"{size:,} bytes" in fault
    assert size_fault(source(size_policy="ignore"), size) is None
