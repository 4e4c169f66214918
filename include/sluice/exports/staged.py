"""An hour whose parts are uploaded and not completed, as it waits in the ledger for its publication."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sluice.exports.form import manifest_hash
from sluice.exports.writer import FileFacts
from sluice.lake import Fingerprint
from sluice.ledger.exported import PublishedFile

# S3 gives metadata back in lower case.
RUN = "sluice-run"
STAGING = "sluice-staging"
PARTITIONS = "sluice-partitions"
ROWS = "sluice-rows"
MANIFEST = "sluice-manifest"


@dataclass(frozen=True)
class Content:
    """What an hour held at a version of the lake."""

    fingerprint: Fingerprint
    version: int


@dataclass(frozen=True)
class StagedFile:
    """A file whose parts are all there; completing the upload makes it the object."""

    key: str
    partition: int
    facts: FileFacts
    upload_id: str
    etags: tuple[str, ...]

    def published(self, etag: str) -> PublishedFile:
        """Return the record of the file as the object with this ETag."""
        return PublishedFile(
            key=self.key,
            partition=self.partition,
            rows=self.facts.rows,
            bytes=self.facts.bytes,
            raw_bytes=self.facts.raw_bytes,
            sha256=self.facts.sha256,
            etag=etag,
            first_upload_time=self.facts.first_upload_time,
            last_upload_time=self.facts.last_upload_time,
        )


@dataclass(frozen=True)
class StagedMarker:
    """The marker-to-be: an upload of one empty part, or nothing yet on a store that takes no empty part."""

    key: str
    upload_id: str | None
    etag: str | None


@dataclass(frozen=True)
class StagedHour:
    """All that publishing needs, so that another process, or a retry, can do it.

    `seen` is what the plan saw of the hour: the ETag of each object by key. `markers` holds the staging of
    the markers among them, empty for one that Sluice did not write.
    """

    run: str
    # Names this staging in the metadata of its objects; a run that stages twice has two.
    staging: str
    content: Content
    filter_hash: str
    config_hash: str
    files: tuple[StagedFile, ...]
    marker: StagedMarker | None
    seen: dict[str, str]
    markers: dict[str, str]
    seconds: float
    # The path, below the lake's root, of the sample of its lines that its gate looks at.
    sample: str | None = None

    @property
    def rows(self) -> int:
        """How many events the files hold."""
        return sum(file.facts.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """The size of all files, compressed."""
        return sum(file.facts.bytes for file in self.files)

    @property
    def manifest(self) -> str:
        """The hash of the list of files."""
        return manifest_of(self.files)

    @property
    def uploads(self) -> set[str]:
        """The ids of the uploads that wait."""
        ids = {file.upload_id for file in self.files}
        if self.marker is not None and self.marker.upload_id is not None:
            ids.add(self.marker.upload_id)
        return ids

    @property
    def surplus(self) -> dict[str, str]:
        """The data objects that the plan saw and that are not in the new set, with their ETags."""
        new = {file.key for file in self.files}
        return {key: etag for key, etag in self.seen.items() if key not in new | self.markers.keys()}

    def to_json(self) -> dict[str, Any]:
        """Return the staging as JSON types, for the ledger."""
        value = asdict(self)
        for file in value["files"]:
            for name in ("first_upload_time", "last_upload_time"):
                file["facts"][name] = file["facts"][name].isoformat()
        # Beside the fields: by it a marker is known that was completed and not recorded yet.
        return value | {"manifest": self.manifest}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StagedHour:
        """Build a staging from what to_json gave."""
        content = value["content"]
        marker = value["marker"]
        fields = {name: item for name, item in value.items() if name != "manifest"}
        return cls(
            **fields
            | {
                "content": Content(Fingerprint(**content["fingerprint"]), content["version"]),
                "files": tuple(_file(file) for file in value["files"]),
                "marker": StagedMarker(**marker) if marker else None,
            }
        )


def manifest_of(files: tuple[StagedFile, ...]) -> str:
    """Return the hash of a list of files, by which the marker vouches for them."""
    return manifest_hash(
        [
            {
                "key": file.key,
                "rows": file.facts.rows,
                "bytes": file.facts.bytes,
                "sha256": file.facts.sha256,
            }
            for file in files
        ]
    )


def _file(value: dict[str, Any]) -> StagedFile:
    times = {
        name: datetime.fromisoformat(value["facts"][name])
        for name in ("first_upload_time", "last_upload_time")
    }
    facts = FileFacts(**value["facts"] | times)
    return StagedFile(**value | {"facts": facts, "etags": tuple(value["etags"])})
