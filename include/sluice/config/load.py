"""Reading the whole configuration: good files count, bad ones become problems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sluice.config.cohort_checks import check_cohorts
from sluice.config.cohort_destinations import CohortDestination, destination_model
from sluice.config.cohorts import CohortConfig, property_columns
from sluice.config.crosscheck import cross_check
from sluice.config.document import Document, DocumentError, read_document
from sluice.config.exports import ExportConfig
from sluice.config.imports import ImportConfig
from sluice.config.lake import LakeConfig
from sluice.config.model import ConfigModel
from sluice.config.problems import ConfigError, ConfigProblem, shown
from sluice.config.projects import Organisation, Project
from sluice.config.syncs import Sync
from sluice.config.taxonomies import FOLDER as TAXONOMIES
from sluice.config.taxonomies import Taxonomy, read_taxonomy
from sluice.config.validate import build, unknown_key
from sluice.errors import SluiceError

ENVIRONMENT = "SLUICE_CONFIG"

REPLAY_FILES = Path(__file__).with_name("replay_files.json")

Model = TypeVar("Model", bound=ConfigModel)


@dataclass(frozen=True)
class Config:
    """The valid part of a configuration folder, and the problems of the rest.

    Each list is in the order of its files. A thing with a problem is in no list.
    """

    directory: Path
    organisations: tuple[Organisation, ...] = ()
    projects: tuple[Project, ...] = ()
    exports: tuple[ExportConfig, ...] = ()
    imports: tuple[ImportConfig, ...] = ()
    cohorts: tuple[CohortConfig, ...] = ()
    cohort_destinations: tuple[CohortDestination, ...] = ()
    syncs: tuple[Sync, ...] = ()
    problems: tuple[ConfigProblem, ...] = ()
    lake_or_none: LakeConfig | None = None

    @property
    def lake(self) -> LakeConfig:
        """Where the lake lies. Raises ConfigError if lake.yaml has a problem."""
        if self.lake_or_none is None:
            raise ConfigError(self.directory, [p for p in self.problems if p.file == "lake.yaml"])
        return self.lake_or_none

    @property
    def administrator(self) -> str:
        """Who owns what belongs to no destination or source: the first administrator, if there is one."""
        mails = (mail for organisation in self.organisations for mail in organisation.administrators)
        return next(mails, "airflow")

    def raise_for_problems(self) -> None:
        """Raise ConfigError with all problems, if there are any."""
        if self.problems:
            raise ConfigError(self.directory, self.problems)

    def export(self, id: str) -> ExportConfig:
        """Return a destination by its id. Raises SluiceError if there is no valid one."""
        return _by_id(self.exports, id, "export destination", self)

    def source(self, id: str) -> ImportConfig:
        """Return an import source by its id. Raises SluiceError if there is no valid one."""
        return _by_id(self.imports, id, "import source", self)

    def cohort(self, id: str) -> CohortConfig:
        """Return a cohort by its id. Raises SluiceError if there is no valid one."""
        return _by_id(self.cohorts, id, "cohort", self)

    def cohort_destination(self, id: str) -> CohortDestination:
        """Return a cohort destination by its id. Raises SluiceError if there is no valid one."""
        return _by_id(self.cohort_destinations, id, "cohort destination", self)

    def sync(self, id: str) -> Sync:
        """Return a sync by its id. Raises SluiceError if there is no valid one."""
        return _by_id(self.syncs, id, "sync", self)

    def sources_of(self, cohort: CohortConfig) -> tuple[Project, ...]:
        """Return the projects that a portfolio's cohort looks at, in their order; none for a single one."""
        return tuple(self.project(id) for id in self.project(cohort.project).sources)

    def property_columns(self, cohort: CohortConfig) -> tuple[str, ...]:
        """Return the property columns of a cohort's members (decisions K-16)."""
        return property_columns(cohort.properties, self.sources_of(cohort))

    def project(self, id: int) -> Project:
        """Return a project by its id. Raises SluiceError if there is no valid one."""
        return _by_id(self.projects, id, "project", self)

    def organisation_of(self, project: int) -> Organisation:
        """Return the organisation that owns a project. Raises SluiceError if there is none."""
        return _by_id(self.organisations, self.project(project).organisation, "organisation", self)

    def taxonomy(self, project: int) -> Taxonomy | None:
        """Return the plan of a project's events, or None if it has none. Raises ConfigError if it is bad."""
        name = self.project(project).taxonomy
        if name is None:
            return None
        taxonomy, problems = read_taxonomy(self.directory, name)
        if taxonomy is None:
            raise ConfigError(self.directory, problems)
        return taxonomy

    def converter_path(self, source: ImportConfig) -> Path:
        """Return the path of a source's converter file.

        A replay's is built in and only says which files are taken: gzip JSON lines, but no merged IDs.
        """
        if source.replay:
            return REPLAY_FILES
        return self.directory / "converters" / source.converter


def default_directory() -> Path:
    """Return the configuration's folder: SLUICE_CONFIG, or include/config of this repository."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named) if named else Path(__file__).parents[2] / "config"


def load_config(directory: Path | None = None, *, thorough: bool = False) -> Config:
    """Read a configuration folder (default_directory() by default).

    Never raises for what is in the files: the result's `problems` says it. Converters and taxonomies are
    compiled or read only by a `thorough` check: parsing a DAG file should not pay for that.
    """
    folder = (directory or default_directory()).resolve()
    problems: list[ConfigProblem] = []
    if not folder.is_dir():
        problem = ConfigProblem(
            "", "", f"there is no such folder: create it, or set {ENVIRONMENT} to the configuration's folder"
        )
        return Config(folder, problems=(problem,))
    organisations, projects, refused = _read_projects(folder, problems)
    lake = _read_lake(folder, problems)
    exports = list(_read_folder(folder, "exports", lambda _: ExportConfig, problems))
    imports = list(_read_folder(folder, "imports", lambda _: ImportConfig, problems))
    found = cross_check(folder, organisations, projects, refused, exports, imports)
    problems += found.problems
    cohorts = list(_read_folder(folder, "cohorts", lambda _: CohortConfig, problems))
    refused_destinations: set[str] = set()
    destinations = list(
        _read_folder(folder, "cohort_destinations", destination_model, problems, refused_destinations)
    )
    sent = check_cohorts(folder, cohorts, destinations, refused_destinations, found.known)
    problems += sent.problems
    if thorough:
        problems += _converter_problems(folder, imports)
        problems += _taxonomy_problems(folder, found.projects)
    bad = {problem.file for problem in problems}
    return Config(
        directory=folder,
        organisations=tuple(found.organisations),
        projects=tuple(found.projects),
        exports=tuple(export for export in exports if export.source_file not in bad),
        imports=tuple(source for source in imports if bad.isdisjoint(_files_of(source, found.projects))),
        cohorts=tuple(sent.cohorts),
        cohort_destinations=tuple(sent.destinations),
        syncs=tuple(sent.syncs),
        problems=tuple(problems),
        lake_or_none=lake,
    )


def _files_of(source: ImportConfig, projects: Iterable[Project]) -> set[str]:
    """Return the files that a source needs whole."""
    taxonomies = {project.taxonomy for project in projects if project.id == source.project}
    return {
        source.source_file,
        f"converters/{source.converter}",
        *(f"{TAXONOMIES}/{name}" for name in taxonomies),
    }


def _read(path: Path, file: str, problems: list[ConfigProblem]) -> Document | None:
    try:
        return read_document(path, file)
    except DocumentError as error:
        problems.append(error.problem)
        return None


def _read_projects(
    folder: Path, problems: list[ConfigProblem]
) -> tuple[list[Organisation], list[Project], frozenset[int] | None]:
    """Read projects.yaml entry by entry: one bad project does not take the others down."""
    document = _read(folder / "projects.yaml", "projects.yaml", problems)
    if document is None:
        return [], [], None
    refused: set[int] = set()

    def entries(key: str, model: type[Model]) -> list[Model]:
        built = []
        content = document.content.get(key)
        if not isinstance(content, list):
            problems.append(
                ConfigProblem(
                    document.file,
                    key,
                    "not a list" if key in document.content else "missing",
                    shown(content) if key in document.content else None,
                    f"a list of {key}",
                    document.line((key,)),
                )
            )
            return []
        for index, item in enumerate(content):
            entry, mistakes = build(model, item, document, (key, index))
            problems.extend(mistakes)
            if entry is not None:
                built.append(entry)
            elif isinstance(item, dict) and isinstance(item.get("id"), int):
                refused.add(item["id"])
        return built

    organisations = entries("organisations", Organisation)
    projects = entries("projects", Project)
    problems += [
        unknown_key(key, ["organisations", "projects"], document.file, key, document.line((key,)))
        for key in document.content
        if key not in ("organisations", "projects")
    ]
    return organisations, projects, frozenset(refused)


def _read_lake(folder: Path, problems: list[ConfigProblem]) -> LakeConfig | None:
    document = _read(folder / "lake.yaml", "lake.yaml", problems)
    if document is None:
        return None
    lake, mistakes = build(LakeConfig, document.content, document)
    problems.extend(mistakes)
    if lake is not None and lake.is_local:
        absolute = lake.model_copy(update={"uri": str((folder / lake.uri).resolve())})
        return absolute
    return lake


def _read_folder(
    folder: Path,
    name: str,
    model_of: Callable[[Mapping[str, Any]], type[Model]],
    problems: list[ConfigProblem],
    refused: set[str] | None = None,
) -> Iterable[Model]:
    """Yield the things of a folder that are good in themselves; `refused` gets the ids of the others."""
    for path in sorted((folder / name).glob("*")):
        file = f"{name}/{path.name}"
        if path.name.startswith(".") or path.suffix not in (".yaml", ".yml"):
            continue
        if path.suffix == ".yml":
            problems.append(ConfigProblem(file, "", "not read: rename it to end in .yaml"))
            continue
        document = _read(path, file, problems)
        if document is None:
            continue
        built, mistakes = build(model_of(document.content), document.content, document)
        problems.extend(mistakes)
        if built is not None:
            yield built
        elif refused is not None:
            refused.add(str(document.content.get("id")))


def _converter_problems(folder: Path, imports: Iterable[ImportConfig]) -> list[ConfigProblem]:
    """Compile each converter that an import names; a missing file is the cross-check's business."""
    from sluice.converter import ConfigError as ConverterError
    from sluice.converter import Converter

    problems = []
    for name in sorted({source.converter for source in imports if not source.replay}):
        path = folder / "converters" / name
        try:
            if path.is_file():
                Converter.from_file(path)
        except ConverterError as error:
            problems += [
                ConfigProblem(
                    f"converters/{name}",
                    problem.pointer,
                    f"{problem.operator}: {problem.message}" if problem.operator else problem.message,
                )
                for problem in error.problems
            ]
        except SluiceError as error:
            problems.append(ConfigProblem(f"converters/{name}", "", str(error)))
    return problems


def _taxonomy_problems(folder: Path, projects: Iterable[Project]) -> list[ConfigProblem]:
    """Read each taxonomy that a project names; a missing file is the cross-check's business."""
    named = sorted({project.taxonomy for project in projects if project.taxonomy is not None})
    there = [name for name in named if (folder / TAXONOMIES / name).is_file()]
    return [problem for name in there for problem in read_taxonomy(folder, name)[1]]


Identified = TypeVar(
    "Identified",
    Organisation,
    Project,
    ExportConfig,
    ImportConfig,
    CohortConfig,
    CohortDestination,
    Sync,
)


def _by_id(things: Iterable[Identified], id: object, kind: str, config: Config) -> Identified:
    known = []
    for thing in things:
        if thing.id == id:
            return thing
        known.append(str(thing.id))
    hint = " The configuration has problems: run `sluice check`." if config.problems else ""
    raise SluiceError(
        f"There is no valid {kind} {id} in {config.directory}; valid are: {', '.join(known) or 'none'}.{hint}"
    )
