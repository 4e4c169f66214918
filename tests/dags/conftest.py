"""The DAG folder as Airflow's processor sees it, and a configuration that a test may spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
DAGS = REPOSITORY / "dags"


def parse(folder: Path = DAGS) -> Any:
    """Parse a folder of DAG files afresh."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")


@pytest.fixture
def parse_dags() -> Callable[..., Any]:
    return parse


@pytest.fixture(scope="module")
def bag() -> Any:
    """The repository's DAGs, parsed once per module."""
    return parse()


@pytest.fixture
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the repository's configuration, which the DAG files read."""
    source = REPOSITORY / "include" / "config"
    for file in source.rglob("*"):
        if file.is_file():
            target = tmp_path / "config" / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    monkeypatch.setenv("SLUICE_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def write_yaml(config_folder: Path) -> Callable[..., None]:
    """Write a file of the copy: another file's keys with some of them changed."""

    def write(file: str, like: str, **keys: object) -> None:
        content = yaml.safe_load((config_folder / like).read_text()) | keys
        (config_folder / file).write_text(yaml.safe_dump(content, sort_keys=False))

    return write
