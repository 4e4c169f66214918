"""What `sluice check` shows of a configuration: a table of each kind of thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from sluice.config import (
    CohortConfig,
    CohortDestination,
    Config,
    ImportConfig,
    S3CohortDestination,
    Sync,
)
from sluice.config.quality import QualityConfig


def config_tables(config: Config) -> Iterator[Table]:
    """Yield a table of the valid things of each kind."""
    yield _table(
        "Projects",
        ["project", "name", "kind", "organisation", "administrators"],
        [
            [
                project.id,
                project.name,
                project.kind,
                f"{owner.id} {owner.name}",
                ", ".join(owner.administrators),
            ]
            for project in config.projects
            for owner in [config.organisation_of(project.id)]
        ],
    )
    yield _table(
        "Exports",
        ["DAG", "enabled", "projects", "to", "data sets", "dialect", "gate", "owner", "file"],
        [
            [
                export.dag_id,
                "yes" if export.enabled else "no",
                ", ".join(map(str, export.projects)),
                f"s3://{export.bucket}/{export.prefix}",
                ", ".join(export.data_sets),
                export.dialect,
                _gate(export.quality),
                export.owner,
                export.source_file,
            ]
            for export in config.exports
        ],
    )
    yield _table(
        "Imports",
        [
            "DAG",
            "enabled",
            "project",
            "from",
            "converter",
            "upload time",
            "discovery",
            "gate",
            "owner",
            "file",
        ],
        [
            [
                source.dag_id,
                "yes" if source.enabled else "no",
                source.project,
                f"s3://{source.bucket}/{source.prefix}",
                "(replay)" if source.replay else source.converter,
                source.upload_time,
                _discovery(source),
                _gate(source.quality),
                source.owner,
                source.source_file,
            ]
            for source in config.imports
        ],
    )
    yield _table(
        "Cohorts",
        ["cohort", "name", "project", "from", "properties", "syncs", "gate", "owner", "file"],
        [
            [
                cohort.id,
                cohort.name,
                cohort.project,
                _origin(cohort),
                ", ".join(cohort.properties),
                len(cohort.syncs),
                _gate(cohort.quality),
                cohort.owner,
                cohort.source_file,
            ]
            for cohort in config.cohorts
        ],
    )
    yield _table(
        "Cohort destinations",
        ["destination", "name", "enabled", "projects", "to", "match by", "owner", "file"],
        [
            [
                destination.id,
                destination.name,
                "yes" if destination.enabled else "no",
                ", ".join(map(str, destination.projects)),
                _target(destination),
                destination.match_by,
                destination.owner,
                destination.source_file,
            ]
            for destination in config.cohort_destinations
        ],
    )
    yield _table(
        "Cohort syncs",
        ["sync", "enabled", "cohort", "to", "cadence", "properties", "routing key", "waits for a person if"],
        [
            [
                sync.id,
                "yes" if sync.enabled else "no",
                sync.cohort.id,
                sync.destination.name,
                sync.cadence,
                ", ".join(sync.properties),
                sync.config.routing_key or "",
                _guard(sync),
            ]
            for sync in config.syncs
        ],
    )


def _gate(quality: QualityConfig) -> str:
    """Say whether there is a gate, and how many expectations it has besides those of its kind."""
    if not quality.enabled:
        return "off"
    return f"built-in + {len(quality.expectations)}" if quality.expectations else "built-in"


def _origin(cohort: CohortConfig) -> str:
    if cohort.sql is not None:
        return f"SQL on {cohort.connection}" if cohort.connection else "SQL"
    return cohort.ids_file or "definition"


def _target(destination: CohortDestination) -> str:
    if isinstance(destination, S3CohortDestination):
        return f"s3://{destination.bucket}/{destination.path}"
    return f"Kinesis stream {destination.stream}"


def _guard(sync: Sync) -> str:
    limits = []
    if sync.config.max_exit_share is not None:
        limits.append(f"over {sync.config.max_exit_share:.0%} leave")
    if sync.config.max_entering is not None:
        limits.append(f"over {sync.config.max_entering} enter")
    return " or ".join(limits)


def _discovery(source: ImportConfig) -> str:
    if source.discovery == "notifications":
        return f"by notification, every {source.sweep_every} min"
    return f"every {source.scan_every} min" if source.scan_every else "by hand"


def _table(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    return table
