"""What a commit to `events` says about itself: the log of which the ledger is a projection (ADR 1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from deltalake import CommitProperties, Transaction

from sluice.lake.fingerprint import Fingerprint
from sluice.lake.store import Lake, LakeError

# The commit metadata's key; the value is JSON text.
METADATA_KEY = "sluice"


def application_id(project: int) -> str:
    """Return the Delta application id under which every commit of a project is numbered."""
    return f"load:{project}"


@dataclass(frozen=True)
class Counts:
    """The fate of every source row: read = loaded + duplicate + ignored + rejected (invariant 6)."""

    read: int = 0
    loaded: int = 0
    duplicate: int = 0
    ignored: int = 0
    rejected: int = 0

    def __post_init__(self) -> None:
        if self.read != self.loaded + self.duplicate + self.ignored + self.rejected:
            raise ValueError(f"Some rows have no fate or two: {self}")

    def __add__(self, other: Counts) -> Counts:
        mine, theirs = asdict(self), asdict(other)
        return Counts(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True)
class LoadedFile:
    """One source file as a load took it; `failed` is the reason if none of its rows was loaded."""

    bucket: str
    key: str
    etag: str
    counts: Counts
    failed: str | None = None


@dataclass(frozen=True)
class LogEntry:
    """One commit of a project's log: a load of files, or the closing of hours.

    `instant` is the load's server time; `hours` are the changes of the fingerprints of the hours that it
    touched; `closed_until` is the end of the hours that a close closes.
    """

    kind: Literal["load", "close"]
    project: int
    number: int
    attempt: str
    source: str | None = None
    instant: datetime | None = None
    closed_until: datetime | None = None
    files: tuple[LoadedFile, ...] = ()
    hours: dict[datetime, Fingerprint] = field(default_factory=dict)

    @property
    def counts(self) -> Counts:
        """The load's row counts: the sum over its files."""
        return sum((file.counts for file in self.files), Counts())

    def properties(self) -> CommitProperties:
        """Return what makes a Delta commit this entry: its number under the project, and its metadata."""
        return CommitProperties(
            custom_metadata={METADATA_KEY: self.to_json()},
            app_transactions=[Transaction(application_id(self.project), self.number)],
        )

    def to_json(self) -> str:
        """Return the entry as one line of JSON."""
        document: dict[str, Any] = {
            "kind": self.kind,
            "project": self.project,
            "number": self.number,
            "attempt": self.attempt,
        }
        if self.kind == "close":
            document["closed_until"] = _text(self.closed_until)
        else:
            document |= {
                "source": self.source,
                "instant": _text(self.instant),
                "counts": asdict(self.counts),
                "files": [
                    {
                        "bucket": file.bucket,
                        "key": file.key,
                        "etag": file.etag,
                        "counts": list(asdict(file.counts).values()),
                        **({"failed": file.failed} if file.failed else {}),
                    }
                    for file in self.files
                ],
                "hours": {_text(hour): [f.rows, f.digest] for hour, f in sorted(self.hours.items())},
            }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> LogEntry:
        """Read an entry back."""
        document = json.loads(text)
        return cls(
            kind=document["kind"],
            project=document["project"],
            number=document["number"],
            attempt=document["attempt"],
            source=document.get("source"),
            instant=_time(document.get("instant")),
            closed_until=_time(document.get("closed_until")),
            files=tuple(
                LoadedFile(
                    file["bucket"], file["key"], file["etag"], Counts(*file["counts"]), file.get("failed")
                )
                for file in document.get("files", ())
            ),
            hours={
                datetime.fromisoformat(hour): Fingerprint(rows, digest)
                for hour, (rows, digest) in document.get("hours", {}).items()
            },
        )


def entries_between(lake: Lake, after: int, last: int) -> Iterator[tuple[int, LogEntry | None]]:
    """Yield (version, entry) of every commit to `events` after one version up to another, oldest first.

    The entry is None for commits that are not the project log's, such as compactions. Raises LakeError if
    the log has lost one of them.

    Each commit is read by its own name: deltalake's history() takes commits from the end of the log, and
    numbers them from the version at which the table was opened, so what came in between shifts them.
    """
    filesystem = lake.table_filesystem("events")
    for version in range(after + 1, last + 1):
        try:
            with filesystem.open_input_file(f"_delta_log/{version:020d}.json") as file:
                text = _sluice_text(file.read())
        except FileNotFoundError as error:
            raise LakeError(
                f"The log of the lake at {lake.uri} no longer has the commit {version} of `events`, which"
                " this ledger has not applied yet: something cleaned the log up, which Sluice never does."
                " Restore the ledger from a backup that knows it, or the log's files."
            ) from error
        yield version, LogEntry.from_json(text) if text else None


def _sluice_text(commit: bytes) -> str | None:
    """Return what a commit's metadata say for Sluice: one of its lines has the commitInfo."""
    for line in commit.splitlines():
        if b'"commitInfo"' in line:
            info: dict[str, str] = json.loads(line).get("commitInfo", {})
            return info.get(METADATA_KEY)
    return None


def _text(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
