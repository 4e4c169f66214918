"""A configuration folder with cohorts and destinations, for tests of the sync under Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PROJECT = 187520
OWNER = "data@example.com"


def write_cohort_config(folder: Path, *, lake: str, bucket: str, stream: str = "people") -> None:
    """Write projects, a lake, and two destinations: the bucket, and a stream."""
    organisation = {"id": 1, "name": "One", "administrators": ["admin@example.com"]}
    shared = {"owner": OWNER, "projects": [PROJECT], "region": "us-east-1"}
    _write(
        folder,
        "projects.yaml",
        organisations=[organisation],
        projects=[{"id": PROJECT, "name": "Flights", "organisation": 1}],
    )
    _write(folder, "lake.yaml", uri=lake, connection="sluice_lake", region="us-east-1")
    _write(
        folder,
        "cohort_destinations/crm.yaml",
        id="crm", name="CRM", kind="s3", bucket=bucket, path="audiences", **shared,
    )  # fmt: skip
    _write(
        folder,
        "cohort_destinations/push.yaml",
        id="push", name="Push", kind="kinesis", stream=stream, **shared,
    )  # fmt: skip


def write_cohort(folder: Path, id: str, /, *syncs: dict[str, Any], **keys: Any) -> None:
    """Write a cohort, by default of everybody whom an event brought within the last day."""
    sql = (
        "SELECT DISTINCT amplitude_id, user_id FROM events"
        " WHERE server_upload_time >= $as_of - INTERVAL 1 DAY AND server_upload_time < $as_of"
    )
    content = {"id": id, "name": f"The {id}", "owner": OWNER, "project": PROJECT}
    if not {"sql", "definition", "ids_file"} & set(keys):
        content["sql"] = sql
    _write(folder, f"cohorts/{id}.yaml", **content, **keys, syncs=list(syncs))


def _write(folder: Path, file: str, /, **content: Any) -> None:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(yaml.safe_dump(content, sort_keys=False))
