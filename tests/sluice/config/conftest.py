"""A small, valid configuration folder that each test spoils in its own way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sluice.config import Config, load_config

PROJECTS = {
    "organisations": [{"id": 1, "name": "One"}, {"id": 2, "name": "Two"}],
    "projects": [
        {"id": 10, "name": "Ten", "organisation": 1},
        {"id": 11, "name": "Eleven", "organisation": 1},
        {"id": 20, "name": "Twenty", "organisation": 2},
        {"id": 30, "name": "All of One", "organisation": 1, "kind": "portfolio", "sources": [10, 11]},
    ],
}
EXPORT = {"id": "daily", "name": "Daily", "owner": "a@b.example", "projects": [10], "bucket": "out-bucket"}
IMPORT = {
    "id": "files",
    "name": "Files",
    "owner": "a@b.example",
    "project": 10,
    "bucket": "in-bucket",
    "region": "us-east-1",
    "converter": "plain.json",
}
CONVERTER = {
    "converterConfig": {
        "fileType": "csv",
        "compressionType": "none",
        "convertToAmplitudeFunc": {"event_type": "action", "user_id": "user"},
    },
    "keyValidatorConfig": {"filterPattern": ".*"},
}


@dataclass
class Folder:
    """A configuration folder on disk."""

    path: Path

    def write(self, file: str, content: object) -> None:
        """Write a file: text and bytes as they are, anything else as YAML or JSON."""
        target = self.path / file
        target.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        elif isinstance(content, str):
            target.write_text(content, encoding="utf-8")
        elif file.endswith(".json"):
            target.write_text(json.dumps(content))
        else:
            target.write_text(yaml.safe_dump(content, sort_keys=False))

    def export(self, name: str = "daily", **keys: object) -> None:
        self.write(f"exports/{name}.yaml", EXPORT | {"id": name} | keys)

    def source(self, name: str = "files", **keys: object) -> None:
        self.write(f"imports/{name}.yaml", IMPORT | {"id": name} | keys)

    def load(self, **options: bool) -> Config:
        return load_config(self.path, **options)

    def only_problem(self) -> str:
        """Return the text of the one problem that there is."""
        problems = self.load().problems
        assert len(problems) == 1, [str(problem) for problem in problems]
        return str(problems[0])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "config")
    made.path.mkdir()
    made.write("projects.yaml", PROJECTS)
    made.write("lake.yaml", {"uri": "s3://lake-bucket/lake"})
    made.write("converters/plain.json", CONVERTER)
    return made
