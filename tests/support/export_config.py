"""A configuration folder with one destination, for tests of the export under Airflow."""

from __future__ import annotations

from pathlib import Path

import yaml


def write_export_config(folder: Path, bucket: str, destination: str, lake: Path | None = None) -> None:
    """Write projects, a lake and one destination; the bucket holds the lake too, unless it is in a folder."""
    store = {"uri": f"s3://{bucket}/lake", "connection": "sluice_lake", "region": "us-east-1"}
    organisation = {"id": 1, "name": "One", "administrators": ["data@example.com"]}
    for name, content in {
        "projects.yaml": {
            "organisations": [organisation],
            "projects": [{"id": 187520, "name": "Flights", "organisation": 1}],
        },
        "lake.yaml": store if lake is None else {"uri": str(lake)},
        f"exports/{destination}.yaml": {
            "id": destination,
            "name": destination.capitalize(),
            "owner": "data@example.com",
            "projects": [187520],
            "bucket": bucket,
            "prefix": "out",
            "close_wait": 0,
        },
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(content))
