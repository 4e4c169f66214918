"""What no file can tell alone: references, doubled ids, two destinations on one key, one bucket for two."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sluice.config import quality_checks
from sluice.config.exports import ExportConfig
from sluice.config.imports import ImportConfig
from sluice.config.problems import ConfigProblem
from sluice.config.projects import Organisation, Project
from sluice.config.references import KnownProjects, doubled, listed, others
from sluice.config.taxonomies import FOLDER as TAXONOMIES

_NO_FILE = "the name of a file that you put there"


@dataclass(frozen=True)
class CrossCheck:
    """The organisations and projects that hold together, and all problems."""

    organisations: list[Organisation]
    projects: list[Project]
    known: KnownProjects
    problems: list[ConfigProblem]


def cross_check(
    folder: Path,
    organisations: Sequence[Organisation],
    projects: Sequence[Project],
    refused: frozenset[int] | None,
    exports: Sequence[ExportConfig],
    imports: Sequence[ImportConfig],
) -> CrossCheck:
    """Check every file against the others.

    `refused` are the ids of organisations and projects that have problems of their own: what names them is
    refused for that, not as unknown; None means that projects.yaml as a whole cannot be read. Where two
    files are in each other's way both are refused: which of them was meant is not for a program to guess.
    """
    problems: list[ConfigProblem] = []
    unique = _without_doubles(organisations, problems)
    good = _good_projects(projects, unique, refused or frozenset(), problems)
    present = None if refused is None else refused | {project.id for project in projects}
    known = KnownProjects({project.id: project for project in good}, present)
    problems += _taxonomy_file_problems(folder, good)
    for export in exports:
        for index, id in enumerate(export.projects):
            problems += known.problems(export, ("projects", index), id, events_for="exported")
        problems += quality_checks.of_export(export)
    for source in imports:
        problems += known.problems(source, ("project",), source.project, events_for="imported into")
        problems += _converter_file_problems(folder, source)
        problems += quality_checks.of_import(source)
    problems += doubled(exports, "id", own="an id of its own")
    problems += doubled(imports, "id", own="an id of its own")
    problems += _shared_queues(imports)
    problems += _shared_keys(exports)
    problems += _shared_buckets(exports, known.valid)
    return CrossCheck(unique, good, known, problems)


Entry = TypeVar("Entry", Organisation, Project)


def _without_doubles(entries: Sequence[Entry], problems: list[ConfigProblem]) -> list[Entry]:
    count = Counter(entry.id for entry in entries)
    problems += [
        entry.problem(("id",), f"the id {entry.id} is there {count[entry.id]} times")
        for entry in entries
        if count[entry.id] > 1
    ]
    return [entry for entry in entries if count[entry.id] == 1]


def _good_projects(
    projects: Sequence[Project],
    organisations: Sequence[Organisation],
    refused: frozenset[int],
    problems: list[ConfigProblem],
) -> list[Project]:
    owners = {organisation.id for organisation in organisations}
    owned = []
    for project in _without_doubles(projects, problems):
        owner = project.organisation
        if owner in owners:
            owned.append(project)
            continue
        reason = "has a problem of its own" if owner in refused else "is not in this file"
        problems.append(project.problem(("organisation",), f"organisation {owner} {reason}", listed(owners)))
    singles = {project.id: project for project in owned if project.kind == "single"}
    good = []
    for project in owned:
        siblings = [id for id, single in singles.items() if single.organisation == project.organisation]
        strangers = [(index, id) for index, id in enumerate(project.sources) if id not in siblings]
        problems += [
            project.problem(
                ("sources", index),
                f"{id} is no valid single project of organisation {project.organisation}",
                listed(siblings),
            )
            for index, id in strangers
        ]
        if not strangers:
            good.append(project)
    return good


def _converter_file_problems(folder: Path, source: ImportConfig) -> list[ConfigProblem]:
    converters = folder / "converters"
    if source.replay or (converters / source.converter).is_file():
        return []
    names = sorted(path.name for path in converters.glob("*.json"))
    there = [name for name in names if name != "schema.json" and not name.endswith(".tests.json")]
    allowed = ", ".join(there) or _NO_FILE
    return [source.problem(("converter",), f"there is no file converters/{source.converter}", allowed)]


def _taxonomy_file_problems(folder: Path, projects: Sequence[Project]) -> list[ConfigProblem]:
    """Name the taxonomies that are not there, as problems of their own: only imports need them."""
    there = {path.name for path in (folder / TAXONOMIES).glob("*.yaml")}
    allowed = ", ".join(sorted(there)) or _NO_FILE
    return [
        ConfigProblem(
            f"{TAXONOMIES}/{project.taxonomy}",
            "",
            f"there is no such file, which project {project.id} names in projects.yaml",
            allowed=allowed,
        )
        for project in projects
        if project.taxonomy is not None and project.taxonomy not in there
    ]


def _shared_queues(imports: Sequence[ImportConfig]) -> list[ConfigProblem]:
    """Refuse two sources on one queue: each would take away the other's notifications."""
    readers: dict[str, list[ImportConfig]] = defaultdict(list)
    for source in imports:
        if source.queue is not None:
            readers[source.queue].append(source)
    return [
        source.problem(("queue",), f"is read by {others(source, rivals)} as well", "a queue of its own")
        for rivals in readers.values()
        if len(rivals) > 1
        for source in rivals
    ]


def _shared_keys(exports: Sequence[ExportConfig]) -> list[ConfigProblem]:
    """Refuse destinations that could write the same key, or take each other's files away (decisions E-23).

    File names differ by project, hour and partition only, so bucket, folder and project decide. An export
    replaces an hour whatever layout wrote it, so it looks into both folders that a layout could choose.
    Disabled destinations count, since they can be backfilled.
    """
    neighbours: dict[tuple[str, int], list[ExportConfig]] = defaultdict(list)
    for export in exports:
        for project in export.projects:
            neighbours[export.bucket, project].append(export)
    problems = []
    for (bucket, project), sharing in neighbours.items():
        for export in sharing:
            rivals = [other for other in sharing if _in_the_way(export, other, project)]
            if not rivals:
                continue
            folder = export.folder(project)
            if any(other.folder(project) == folder for other in rivals):
                reason = f"would write the same keys as {others(export, rivals)}"
            else:
                reason = f"and {others(export, rivals)} would each take the other's files for its own"
            problems.append(
                export.problem(
                    ("bucket",),
                    f"{reason}: s3://{bucket}/{folder}{project}_…",
                    "another bucket, prefix or project for one of them",
                )
            )
    return problems


def _in_the_way(one: ExportConfig, other: ExportConfig, project: int) -> bool:
    if one is other:
        return False
    looks = [{export.prefix, f"{export.prefix}{project}/"} for export in (one, other)]
    return one.folder(project) in looks[1] or other.folder(project) in looks[0]


def _shared_buckets(exports: Sequence[ExportConfig], known: dict[int, Project]) -> list[ConfigProblem]:
    """Refuse a bucket that serves two organisations (amplitude-spec 1.1); disabled ones hold none."""
    holders: dict[str, dict[int, list[ExportConfig]]] = defaultdict(lambda: defaultdict(list))
    for export in exports:
        owners = {known[project].organisation for project in export.projects if project in known}
        for owner in owners if export.enabled else ():
            holders[export.bucket][owner].append(export)
    return [
        export.problem(
            ("bucket",),
            f"{bucket} is used for organisation {owner} here, and for {_rivals(by_owner, owner)};"
            " a bucket belongs to one organisation",
            "another bucket, or `enabled: false` in the other organisation's files",
        )
        for bucket, by_owner in holders.items()
        if len(by_owner) > 1
        for owner, theirs in by_owner.items()
        for export in theirs
    ]


def _rivals(by_owner: dict[int, list[ExportConfig]], owner: int) -> str:
    return " and ".join(
        f"organisation {other} in {', '.join(export.source_file for export in theirs)}"
        for other, theirs in by_owner.items()
        if other != owner
    )
