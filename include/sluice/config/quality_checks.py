"""What an expectation says of its pipeline: its columns must be there, and not all fit all pipelines."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

from sluice.config.cohorts import CohortConfig
from sluice.config.expectation_columns import column_mistake, columns_named, kind_mistakes
from sluice.config.expectations import catalogue
from sluice.config.exports import ExportConfig
from sluice.config.imports import ImportConfig
from sluice.config.problems import ConfigProblem
from sluice.event_columns import EVENT_COLUMNS, Kind

# Columns whose values are JSON: their properties can be looked at as columns.
JSON_COLUMNS = tuple(name for name, kind in EVENT_COLUMNS.items() if kind == "json")

# What rows have only once they are loaded; replayed ones bring all of it but the project.
GIVEN_AT_LOAD = frozenset({"amplitude_id", "app", "processed_time", "server_upload_time"})

_PIPELINES = {"export": "exports", "import": "imports", "cohort": "cohorts"}


def of_export(export: ExportConfig) -> list[ConfigProblem]:
    """Check a destination's suite: its columns are the keys of an exported event."""
    return list(_problems(export, "export", EVENT_COLUMNS, JSON_COLUMNS, EVENT_COLUMNS))


def of_import(source: ImportConfig) -> list[ConfigProblem]:
    """Check a source's suite: its columns are what a converted row has before the load gives it more."""
    columns = columns_of_import(source)
    return list(_problems(source, "import", columns, JSON_COLUMNS, EVENT_COLUMNS))


def columns_of_import(source: ImportConfig) -> list[str]:
    """Return the columns that a source's rows have before they are loaded."""
    lacking = {"app"} if source.replay else GIVEN_AT_LOAD
    return [name for name in EVENT_COLUMNS if name not in lacking]


def of_cohort(cohort: CohortConfig) -> list[ConfigProblem]:
    """Check a cohort's suite: its columns are the ids and the properties, as the query names them."""
    ids: dict[str, Kind] = {"amplitude_id": "integer", "user_id": "text"}
    columns = (*ids, *cohort.properties)
    return list(_problems(cohort, "cohort", columns, cohort.properties, ids))


def _problems(
    thing: ExportConfig | ImportConfig | CohortConfig,
    pipeline: Literal["export", "import", "cohort"],
    columns: Collection[str],
    dotted: Collection[str],
    kinds: Mapping[str, Kind],
) -> Iterator[ConfigProblem]:
    for index, expectation in enumerate(thing.quality.expectations):
        place = ("quality", "expectations", index)
        fits = catalogue()[expectation.type].get("pipelines", tuple(_PIPELINES))
        if pipeline not in fits:
            yield thing.problem(
                (*place, "type"),
                f"{expectation.type} makes no sense for {_PIPELINES[pipeline]}",
                f"it stands in {' and '.join(_PIPELINES[name] for name in fits)}",
            )
            continue
        missing = [
            (path, mistake)
            for path, column in columns_named(expectation.type, expectation.kwargs)
            if (mistake := column_mistake(path, column, columns, dotted))
        ]
        for path, mistake in missing:
            late = pipeline == "import" and mistake.found in EVENT_COLUMNS
            hint = "; a row gets it when it is loaded" if late else ""
            yield thing.problem((*place, *path), f"{mistake.message}{hint}", mistake.allowed)
        if not missing:
            for mistake in kind_mistakes(expectation.type, expectation.kwargs, kinds):
                yield thing.problem((*place, *mistake.path), mistake.message, mistake.allowed)
