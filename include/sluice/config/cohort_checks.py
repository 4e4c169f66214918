"""What no cohort's file can tell alone: its project, its destinations, and names that two syncs share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sluice.config import quality_checks
from sluice.config.cohort_destinations import (
    WITHOUT_MINUTES,
    CohortDestination,
    KinesisCohortDestination,
    S3CohortDestination,
)
from sluice.config.cohorts import REAL_TIME_KIND, CohortConfig, SyncConfig, property_columns
from sluice.config.problems import ConfigProblem, KeyPath
from sluice.config.projects import Project
from sluice.config.references import KnownProjects, doubled, listed
from sluice.config.syncs import Sync

FOLDER = "cohorts"
DESTINATIONS = "cohort_destinations"


@dataclass(frozen=True)
class CohortCheck:
    """The cohorts, destinations and syncs that hold together, and all problems.

    A sync with a problem is left out alone: its cohort stays, and so do the cohort's other syncs.
    """

    cohorts: list[CohortConfig]
    destinations: list[CohortDestination]
    syncs: list[Sync]
    problems: list[ConfigProblem]


@dataclass(frozen=True, eq=False)
class _Place:
    """One sync where it stands: in which cohort, at which index."""

    cohort: CohortConfig
    index: int

    @property
    def config(self) -> SyncConfig:
        return self.cohort.syncs[self.index]

    def problem(self, path: KeyPath, message: str, allowed: str | None = None) -> ConfigProblem:
        return self.cohort.problem(("syncs", self.index, *path), message, allowed)

    def __str__(self) -> str:
        return f"{self.config.id} in {self.cohort.source_file}"


def check_cohorts(
    folder: Path,
    cohorts: Sequence[CohortConfig],
    destinations: Sequence[CohortDestination],
    refused: AbstractSet[str],
    projects: KnownProjects,
) -> CohortCheck:
    """Check cohorts, their syncs and their destinations against each other and against the projects.

    `refused` are the ids of destinations whose files have problems of their own. Which columns a query has
    is looked up by `sluice.cohorts.config_check`: that takes the engine.
    """
    of_destinations = [
        *doubled(destinations, "id", own="an id of its own"),
        *doubled(destinations, "name", own="a name of its own: baselines hang on it"),
        *(
            problem
            for destination in destinations
            for index, id in enumerate(destination.projects)
            for problem in projects.problems(destination, ("projects", index), id)
        ),
    ]
    good_destinations = _without(destinations, of_destinations)
    of_cohorts = [
        *doubled(cohorts, "id", own="an id of its own"),
        *(problem for cohort in cohorts for problem in _cohort_problems(folder, cohort, projects)),
    ]
    good_cohorts = _without(cohorts, of_cohorts)
    good_files = {cohort.source_file for cohort in good_cohorts}
    refused = refused | {destination.id for destination in destinations}
    by_id = {destination.id: destination for destination in good_destinations}
    places = [_Place(cohort, index) for cohort in cohorts for index in range(len(cohort.syncs))]
    of_syncs = {place: _sync_problems(place, by_id, refused, projects) for place in places}
    for place, problem in (
        *_doubled_syncs(places),
        *_shared_files(places, by_id),
        *_shared_streams(places, by_id),
    ):
        of_syncs[place].append(problem)
    syncs = [
        Sync(place.config, place.cohort, by_id[place.config.destination], _sources(place.cohort, projects))
        for place, problems in of_syncs.items()
        if not problems and place.cohort.source_file in good_files
    ]
    problems = [
        *of_cohorts,
        *(problem for mistakes in of_syncs.values() for problem in mistakes),
        *of_destinations,
    ]
    return CohortCheck(good_cohorts, good_destinations, syncs, problems)


Thing = TypeVar("Thing", CohortConfig, CohortDestination)


def _without(things: Sequence[Thing], problems: Sequence[ConfigProblem]) -> list[Thing]:
    bad = {problem.file for problem in problems}
    return [thing for thing in things if thing.source_file not in bad]


def _sources(cohort: CohortConfig, projects: KnownProjects) -> tuple[Project, ...]:
    project = projects.valid.get(cohort.project)
    return tuple(projects.valid[id] for id in project.sources) if project is not None else ()


def _cohort_problems(folder: Path, cohort: CohortConfig, projects: KnownProjects) -> list[ConfigProblem]:
    unknown = projects.problems(cohort, ("project",), cohort.project)
    return unknown or [
        *_doubled_columns(cohort, _sources(cohort, projects)),
        *_ids_file_problems(folder, cohort),
        *quality_checks.of_cohort(cohort),
    ]


def _doubled_columns(cohort: CohortConfig, sources: Sequence[Project]) -> list[ConfigProblem]:
    """Refuse a portfolio of projects with one name, which tells their columns apart (decisions K-16)."""
    names = [project.name for project in sources]
    same = sorted({name for name in names if names.count(name) > 1})
    if not same or not cohort.properties:
        return []
    return [
        cohort.problem(
            ("properties",),
            f"portfolio {cohort.project} looks at several projects of the name {', '.join(same)}, which would"
            " give several columns one name",
            "a name of its own for each of the projects, in projects.yaml",
        )
    ]


def _ids_file_problems(folder: Path, cohort: CohortConfig) -> list[ConfigProblem]:
    if cohort.ids_file is None:
        return []
    home = (folder / FOLDER).resolve()
    path = (home / cohort.ids_file).resolve()
    if not path.is_relative_to(home):
        return [
            cohort.problem(
                ("ids_file",),
                f"{FOLDER}/{cohort.ids_file} is a link to a file outside of {FOLDER}/",
                f"a file that lies in {FOLDER}/ itself",
            )
        ]
    if not path.is_file():
        there = ", ".join(sorted(found.name for found in home.glob("*.csv")))
        return [
            cohort.problem(
                ("ids_file",),
                f"there is no file {FOLDER}/{cohort.ids_file}",
                there or "the name of a file that you put there",
            )
        ]
    return []


def _sync_problems(
    place: _Place,
    destinations: Mapping[str, CohortDestination],
    refused: AbstractSet[str],
    projects: KnownProjects,
) -> list[ConfigProblem]:
    cohort, sync = place.cohort, place.config
    destination = destinations.get(sync.destination)
    if destination is None:
        reason = "has a problem of its own" if sync.destination in refused else f"is not in {DESTINATIONS}/"
        return [
            place.problem(("destination",), f"destination {sync.destination} {reason}", listed(destinations))
        ]
    problems = []
    if cohort.project not in destination.projects:
        takers = listed(id for id, other in destinations.items() if cohort.project in other.projects)
        problems.append(
            place.problem(
                ("destination",),
                f"destination {destination.id} does not take project {cohort.project}",
                f"{takers}; or the project among the `projects` of {destination.source_file}",
            )
        )
    problems += _cadence_problems(place, destination)
    problems += _routing_key_problems(place, destination)
    problems += _property_problems(place, destination, _sources(cohort, projects))
    return problems


def _cadence_problems(place: _Place, destination: CohortDestination) -> list[ConfigProblem]:
    """Say which cadence a sync cannot have (amplitude-spec 2.3, decisions K-1 and K-10)."""
    path: KeyPath = ("cadence",)
    s3 = destination if isinstance(destination, S3CohortDestination) else None
    match place.config.cadence:
        case "real_time" if s3 is not None:
            return [
                place.problem(
                    path,
                    "files are not written every minute: real_time is for Kinesis only",
                    f"one_time, hourly or daily; or a Kinesis destination instead of {s3.id}",
                )
            ]
        case "real_time" if place.cohort.kind != REAL_TIME_KIND:
            return [
                place.problem(
                    path,
                    f"a cohort of kind {place.cohort.kind} is not computed every minute",
                    "one_time, hourly or daily; only behavioral cohorts are synced in real_time",
                )
            ]
        case "one_time" if s3 is not None and s3.timestamp_format in WITHOUT_MINUTES:
            return [
                place.problem(
                    path,
                    f"the file names of {s3.id} lack the minutes, so two runs by hand within an hour could"
                    " write the same names",
                    f"hourly or daily; or a timestamp_format with minutes in {s3.source_file}",
                )
            ]
    return []


def _routing_key_problems(place: _Place, destination: CohortDestination) -> list[ConfigProblem]:
    path: KeyPath = ("routing_key",)
    key = place.config.routing_key
    if isinstance(destination, KinesisCohortDestination):
        if key is None:
            return []
        return [
            place.problem(
                path, "stands in the names of files, and Kinesis has none", "no routing_key for this sync"
            )
        ]
    if destination.require_suffix and key is None:
        return [
            place.problem(
                path,
                f"missing: destination {destination.id} has `require_suffix: true`, which asks for one"
                " in each sync",
                "1 to 64 letters, digits, dots and dashes",
            )
        ]
    return []


def _property_problems(
    place: _Place, destination: CohortDestination, sources: Sequence[Project]
) -> list[ConfigProblem]:
    """Name the properties that are sent, or matched by, and that the cohort lacks (decisions K-15, K-17)."""
    cohort = place.cohort
    there = ", ".join(cohort.properties) or "none, since the cohort has no `properties`"
    problems = [
        place.problem(("user_properties", index), f"the cohort has no property {name}", there)
        for index, name in enumerate(place.config.user_properties)
        if name not in cohort.properties
    ]
    wanted = {
        "adds": (destination.user_property, cohort.properties),
        "matches by": (destination.match_by, ("user_id", *property_columns(cohort.properties, sources))),
    }
    problems += [
        place.problem(
            ("destination",),
            f"destination {destination.id} {verb} the property {name}, which the cohort lacks",
            f"{name} among the `properties` of {cohort.source_file}"
            if not sources
            else ", ".join(columns) or "a property of the cohort",
        )
        for verb, (name, columns) in wanted.items()
        if name is not None and name not in columns
    ]
    return problems


def _doubled_syncs(places: Sequence[_Place]) -> list[tuple[_Place, ConfigProblem]]:
    return [
        (place, place.problem(("id",), f"{id} is also the id of {_rivals(place, same)}", "an id of its own"))
        for id, same in _grouped(places, lambda place: place.config.id)
        for place in same
    ]


def _shared_files(
    places: Sequence[_Place], destinations: Mapping[str, CohortDestination]
) -> list[tuple[_Place, ConfigProblem]]:
    """Refuse syncs that could write the same file at one time (decisions K-1).

    Names differ by project, cohort, time and routing key only, and an hourly, a daily and a one-time sync
    can have one time. Disabled ones count, since they can be backfilled.
    """

    def names(place: _Place) -> tuple[object, ...] | None:
        destination = destinations.get(place.config.destination)
        if not isinstance(destination, S3CohortDestination):
            return None
        cohort, key = place.cohort, place.config.routing_key
        # Two files that claim one id are refused as such.
        name = f"{cohort.project}_{cohort.id}"
        return destination.bucket, destination.path, name, key, cohort.source_file

    return [
        (
            place,
            place.problem(
                ("routing_key",) if key else ("destination",),
                f"would write the same files as {_rivals(place, same)}:"
                f" s3://{bucket}/{path}{name}_…{f'_{key}' if key else ''}.csv",
                "another routing_key, or a destination with another path or bucket, for one of them",
            ),
        )
        for (bucket, path, name, key, _), same in _grouped(places, names)
        for place in same
    ]


def _shared_streams(
    places: Sequence[_Place], destinations: Mapping[str, CohortDestination]
) -> list[tuple[_Place, ConfigProblem]]:
    """Refuse syncs of one cohort to one stream: messages name it, and no sync (amplitude-spec 3.1)."""

    def stream(place: _Place) -> tuple[object, ...] | None:
        destination = destinations.get(place.config.destination)
        if not isinstance(destination, KinesisCohortDestination):
            return None
        return destination.region, destination.stream, place.cohort.source_file

    return [
        (
            place,
            place.problem(
                ("destination",),
                f"would send messages of one cohort to the stream {name} beside {_rivals(place, same)}: they"
                " do not name their sync, so nobody could tell the two apart",
                "a destination with another stream for one of them",
            ),
        )
        for (_, name, _), same in _grouped(places, stream)
        for place in same
    ]


def _grouped(places: Sequence[_Place], key: Callable[[_Place], Any]) -> Iterator[tuple[Any, list[_Place]]]:
    """Yield each key that several syncs have, and these syncs; a key of None is no key."""
    groups: dict[Any, list[_Place]] = defaultdict(list)
    for place in places:
        groups[key(place)].append(place)
    return ((name, same) for name, same in groups.items() if name is not None and len(same) > 1)


def _rivals(place: _Place, same: Sequence[_Place]) -> str:
    return " and ".join(str(other) for other in same if other is not place)
