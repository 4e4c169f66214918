"""The repository's configuration on a bucket of the test's own, and the context of one run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sluice.converter import Converter
from sluice.ledger.registry import record_passed
from sluice_airflow.hooks.sluice import SluiceHook

CONFIG = Path(__file__).resolve().parents[3] / "include" / "config"


@pytest.fixture
def flights_config(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Use the configured flights; call it to change keys of one of the files."""
    folder = tmp_path / "config"
    for path in CONFIG.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(CONFIG)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())

    def change(file: str, **keys: Any) -> None:
        content = yaml.safe_load((folder / file).read_text()) | keys
        (folder / file).write_text(yaml.safe_dump(content))

    change("lake.yaml", uri=f"s3://{bucket}/lake")
    change("imports/flights.yaml", bucket=bucket)
    monkeypatch.setenv("SLUICE_CONFIG", str(folder))
    return change


@pytest.fixture
def enabled(airflow_connections: dict[str, str], flights_config: Callable[..., None]) -> None:
    """The flights' converter has passed its test."""
    config, ledger = SluiceHook().config, SluiceHook().ledger
    source = config.source("flights")
    converter = Converter.from_file(config.converter_path(source))
    record_passed(
        ledger,
        source.id,
        source.as_json(),
        source.hash,
        converter_hash=converter.hash,
        keys=["flights/a.csv.gz"],
    )


class TaskInstance:
    """What a task leaves for others, by key."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.fixture
def context() -> dict[str, Any]:
    """What operators read of Airflow's context, and what they leave in it."""
    return {
        "run_id": "manual__2026-11-21T12:00:00+00:00",
        "dag_run": SimpleNamespace(run_type="manual"),
        "triggering_asset_events": {},
        "ti": TaskInstance(),
        "outlet_events": defaultdict(SimpleNamespace),
    }
