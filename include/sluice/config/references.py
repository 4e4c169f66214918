"""What one file says of another: projects that must be there, ids and names that only one may have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sluice.config.model import ConfigModel
from sluice.config.problems import ConfigProblem, KeyPath
from sluice.config.projects import Project


@dataclass(frozen=True)
class KnownProjects:
    """The valid projects by id, and the ids of all that projects.yaml names.

    `present` is None if projects.yaml as a whole cannot be read.
    """

    valid: dict[int, Project]
    present: frozenset[int] | None

    def problems(
        self, thing: ConfigModel, path: KeyPath, id: int, *, events_for: str | None = None
    ) -> list[ConfigProblem]:
        """Say why a thing cannot name a project.

        `events_for` says what is done with the events of a project that must be a single one.
        """
        if self.present is None:
            return [thing.problem(path, f"project {id} is not known, since projects.yaml cannot be read")]
        allowed = listed(
            project.id for project in self.valid.values() if events_for is None or project.kind == "single"
        )
        if id not in self.valid:
            own = "has a problem of its own in projects.yaml"
            reason = own if id in self.present else "is not in projects.yaml"
            return [thing.problem(path, f"project {id} {reason}", allowed)]
        if events_for is not None and self.valid[id].kind == "portfolio":
            reason = (
                f"project {id} is a portfolio, which holds no events of its own and cannot be {events_for}"
            )
            return [thing.problem(path, reason, allowed)]
        return []


def doubled(things: Sequence[ConfigModel], key: str, *, own: str) -> list[ConfigProblem]:
    """Refuse all things of which two have the same value of a key: only people know which one was meant."""
    holders: dict[object, list[ConfigModel]] = defaultdict(list)
    for thing in things:
        holders[getattr(thing, key)].append(thing)
    return [
        thing.problem((key,), f"{value} is also the {key} of {others(thing, rivals)}", own)
        for value, rivals in holders.items()
        if len(rivals) > 1
        for thing in rivals
    ]


def others(thing: ConfigModel, rivals: Sequence[ConfigModel]) -> str:
    """Name the files of the others."""
    return " and ".join(rival.source_file for rival in rivals if rival is not thing)


def listed(ids: Iterable[int] | Iterable[str]) -> str:
    """List ids in their order, as what would be allowed."""
    return ", ".join(map(str, sorted(ids))) or "none that is valid"
