"""The report of a run."""

from __future__ import annotations

import json
from typing import Any

from sluice.imports.report import Report
from sluice.ledger.files import SourceFile


def file(key: str, state: str, **facts: Any) -> SourceFile:
    return SourceFile(
        **dict.fromkeys(SourceFile.__dataclass_fields__)
        | {"bucket": "customer", "key": key, "state": state, **facts}
    )  # type: ignore[arg-type]


DONE = {"rows_read": 10, "loaded": 6, "duplicate": 1, "ignored": 2, "rejected": 1, "seconds": 1.25}


def test_the_report_shows_counts_reasons_and_sums() -> None:
    report = Report(
        "flights",
        [
            file("a.csv", "done", **DONE, report={"run": "r", "reasons": {"time: is missing": 1}}),
            file("b.csv", "failed", reason="The gzip data ends early."),
        ],
    )
    text = "\n".join(report.lines())
    for part in ("a.csv", "rejected: 1 × time: is missing", "The gzip data ends early.", "2 files, 1 failed"):
        assert part in text
    assert report.totals() == {
        "files": 2,
        "failed_files": 1,
        "rows_read": 10,
        "loaded": 6,
        "duplicate": 1,
        "ignored": 2,
        "rejected": 1,
    }


def test_the_xcom_stays_small_and_shows_failures_first() -> None:
    many = [file(f"k{n:04}", "done", **DONE, report={"run": "r"}, staged={"x": "y"}) for n in range(500)]
    document = Report("flights", [*many, file("bad", "failed", reason="torn")]).as_json()
    assert document["shown"][0]["key"] == "bad"
    assert document["files"] == 501
    assert len(json.dumps(document)) < 25_000
