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
COHORT = {
    "id": "delayed",
    "name": "Often delayed",
    "owner": "a@b.example",
    "project": 10,
    "sql": "SELECT amplitude_id, user_id, 'x' AS city, 1 AS visits FROM events",
    "properties": ["city", "visits"],
}
SYNC = {"id": "delayed_crm", "destination": "crm", "cadence": "hourly"}
S3 = {
    "id": "crm",
    "name": "CRM",
    "owner": "a@b.example",
    "kind": "s3",
    "projects": [10],
    "bucket": "people-bucket",
}
KINESIS = {
    "id": "ads",
    "name": "Ads",
    "owner": "a@b.example",
    "kind": "kinesis",
    "projects": [10],
    "stream": "people",
}
CONVERTER = {
    "converterConfig": {
        "fileType": "csv",
        "compressionType": "none",
        "convertToAmplitudeFunc": {"event_type": "action", "user_id": "user"},
    },
    "keyValidatorConfig": {"filterPattern": ".*"},
}


class _Plain(yaml.SafeDumper):
    """Writes a value that stands in two places out twice: aliases are not read."""

    def ignore_aliases(self, data: object) -> bool:
        return True


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
            target.write_text(yaml.dump(content, Dumper=_Plain, sort_keys=False))

    def export(self, name: str = "daily", **keys: object) -> None:
        self.write(f"exports/{name}.yaml", EXPORT | {"id": name} | keys)

    def source(self, name: str = "files", **keys: object) -> None:
        self.write(f"imports/{name}.yaml", IMPORT | {"id": name} | keys)

    def cohort(self, *syncs: dict[str, object], file: str = "delayed", **keys: object) -> None:
        """Write a cohort with syncs, each on the base of SYNC; a key of None is taken out."""
        content = COHORT | {"syncs": [SYNC | sync for sync in syncs]} | keys
        kept = {key: value for key, value in content.items() if value is not None}
        self.write(f"cohorts/{file}.yaml", kept)

    def s3(self, file: str = "crm", **keys: object) -> None:
        self.write(f"cohort_destinations/{file}.yaml", S3 | {"id": file} | keys)

    def kinesis(self, file: str = "ads", **keys: object) -> None:
        self.write(f"cohort_destinations/{file}.yaml", KINESIS | {"id": file} | keys)

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
