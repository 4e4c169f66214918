"""Events in a lake as a cohort's query meets them, row by row, and a configuration to look at them with."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from sluice.config import Config
from sluice.config.cohorts import CohortConfig
from sluice.config.projects import Organisation, Project
from sluice.lake import Lake
from sluice.lake.data_files import write_data_files
from sluice.lake.schema import EVENTS, JSON_COLUMNS, ORDER

PROJECT = 187520
NOON = datetime(2013, 1, 2, 12, tzinfo=UTC)
_PARTITION = ["app", "upload_date"]


def add_events(lake: Lake, rows: Iterable[Mapping[str, Any]], project: int = PROJECT) -> None:
    """Commit events; what a row does not say is as in most tests, dictionaries become JSON text."""
    known = [_event(row, project, place) for place, row in enumerate(rows)]
    known.sort(key=lambda row: tuple(row[name] for name in ORDER))
    batches = [
        pa.RecordBatch.from_pylist(list(day), schema=EVENTS)
        for _, day in groupby(known, key=lambda row: row["upload_date"])
    ]
    actions = write_data_files(lake.table_filesystem("events"), batches, _PARTITION, sorted_by=ORDER)
    lake.events().create_write_transaction(actions, "append", EVENTS, _PARTITION)


def _event(row: Mapping[str, Any], project: int, place: int) -> dict[str, Any]:
    time = row.get("server_upload_time", NOON)
    event = {
        "app": project,
        "uuid": str(uuid.uuid4()),
        "event_type": "tested",
        "event_properties": {},
        "user_properties": {},
        "server_upload_time": time,
        "upload_date": time.astimezone(UTC).date(),
        "loaded_at": time,
        "seq": place,
        "revision": 0,
    } | dict(row)
    return {
        name: json.dumps(value) if name in JSON_COLUMNS and value is not None else value
        for name, value in event.items()
    }


def cohort_of(**settings: Any) -> CohortConfig:
    """Make a cohort of PROJECT; `sql`, `definition` or `ids_file` among the settings."""
    cohort = CohortConfig.model_validate(
        {"id": "test", "name": "Test", "owner": "owner@example.com", "project": PROJECT} | settings
    )
    cohort._source_file = "cohorts/test.yaml"
    return cohort


def config_of(
    cohort: CohortConfig, folder: Path = Path(), sources: Mapping[int, str] | None = None
) -> Config:
    """Make a configuration of a cohort; its project is a portfolio of `sources`, names by id, if given."""
    sources = sources or {}
    kind: dict[str, Any] = {"kind": "portfolio", "sources": tuple(sources)} if sources else {}
    projects = [Project(id=cohort.project, name="Whole", organisation=1, **kind)]
    projects += [Project(id=id, name=name, organisation=1) for id, name in sources.items()]
    return Config(
        folder,
        organisations=(Organisation(id=1, name="Owner"),),
        projects=tuple(projects),
        cohorts=(cohort,),
    )
