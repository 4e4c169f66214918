"""Export destinations: one YAML in include/config/exports/ each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from sluice.config.fields import (
    ID_RULE,
    Bucket,
    ConnectionId,
    Email,
    FolderPrefix,
    HourInstant,
    Id,
    KmsKey,
    Prose,
    Region,
    Text,
)
from sluice.config.filters import FilterConfig
from sluice.config.model import ConfigModel, setting
from sluice.config.projects import OneOrMore, ProjectIds
from sluice.config.quality import QualityConfig

MIB = 1024 * 1024


def _first_partition(data: dict[str, Any]) -> int:
    return 1 if data.get("dialect") == "documented" else 0


def _flat_layout(data: dict[str, Any]) -> bool:
    return data.get("dialect") == "documented"


class ExportConfig(ConfigModel):
    """One destination of the hourly export: which projects' hours go to which bucket, in which form.

    Rules: amplitude-spec 1.1 and 1.2, decisions E-2 to E-4, E-11, E-13, E-14, E-22, rule of precedence.
    """

    # Who, when and how often: none of it is in the bytes or the names of an hour's objects.
    UNHASHED: ClassVar = frozenset(
        {
            "name",
            "description",
            "owner",
            "enabled",
            "start",
            "reexport_changed",
            "catch_up_hours",
            "close_wait",
            "late_after",
            "quality",
        }
    )

    id: Id = setting(
        allowed=ID_RULE,
        meaning="Identity of the destination, never changed: its DAG is `export_hourly__<id>`.",
    )
    name: Text = setting(allowed="text", meaning="What people call it.")
    description: Prose = setting("", allowed="text", meaning="What it is for.")
    owner: Email = setting(
        allowed="an e-mail address", meaning="Who is told when it fails, and the owner of its DAG."
    )
    projects: Annotated[ProjectIds, OneOrMore] = setting(
        allowed="a list of one or more ids of single projects of projects.yaml",
        meaning="Whose events are exported. Portfolio projects cannot be a source.",
    )
    data_sets: Annotated[tuple[Literal["events"], ...], Field(strict=False), OneOrMore] = setting(
        ("events",),
        allowed="[events]",
        default_text="[events]",
        meaning="What is exported: the events, by the hour of their `server_upload_time`.",
    )
    bucket: Bucket = setting(
        allowed="the name of an S3 bucket: 3 to 63 small letters, digits, dots and dashes",
        meaning="The bucket that is written to. A bucket serves one organisation only.",
    )
    prefix: FolderPrefix = setting(
        "",
        allowed="folders such as amplitude/events, or an empty text for the bucket's root",
        default_text="the bucket's root",
        meaning="The folder below which everything is written; it always ends in one slash.",
    )
    region: Region | None = setting(
        None,
        allowed="an AWS region such as us-east-1, or null",
        default_text="the connection's region",
        meaning="The region of the bucket.",
    )
    connection: ConnectionId = setting(
        "aws_default",
        allowed="the id of an Airflow connection",
        meaning="Airflow connection (type aws) with the credentials and endpoint.",
    )
    dialect: Literal["observed", "documented"] = setting(
        "observed",
        allowed="observed or documented",
        meaning=(
            "`observed` writes what real exports look like: times with a blank, 55 keys;"
            " `documented` what the pages say: times with `T`, the 48 documented keys."
        ),
    )
    first_partition: Annotated[int, Field(ge=0, le=1)] = setting(
        allowed="0 or 1",
        default_factory=_first_partition,
        default_text="0; 1 in the documented dialect",
        meaning="The number of an hour's first file.",
    )
    flat_layout: bool = setting(
        allowed="true or false",
        default_factory=_flat_layout,
        default_text="false; true in the documented dialect",
        meaning="Whether files lie directly below the prefix, without a folder per project.",
    )
    marker: bool = setting(
        True,
        allowed="true or false",
        meaning="Whether a finished hour gets its empty `…_complete` object, written last.",
    )
    partition_bytes: Annotated[int, Field(ge=1024, le=5 * 1024 * MIB)] = setting(
        512 * MIB,
        allowed="a whole number of bytes from 1024 to 5368709120",
        meaning="Uncompressed size, in bytes, at which an hour goes on in its next file.",
    )
    compression_level: Annotated[int, Field(ge=0, le=3)] = setting(
        1,
        allowed="0, 1, 2 or 3",
        meaning="How hard gzip tries: 0 is fastest, 3 smallest.",
    )
    encryption: Literal["none", "sse-s3", "sse-kms"] = setting(
        "none",
        allowed="none, sse-s3 or sse-kms",
        meaning=(
            "How the store encrypts the objects: `none` asks for nothing, so that the bucket's own default"
            " decides; `sse-kms` needs `kms_key`."
        ),
    )
    kms_key: KmsKey | None = setting(
        None,
        allowed="with sse-kms, and only then: the ARN, id or alias/… of a KMS key",
        meaning="The key with which the store encrypts the objects.",
        validate_default=True,
    )
    filter: FilterConfig | None = setting(
        None,
        allowed="event_types and where, see docs/export.md, or null",
        default_text="every event",
        meaning="Which events leave. An hour that it empties still gets its marker.",
    )
    start: HourInstant | None = setting(
        None,
        allowed="a whole hour such as 2013-01-01T00:00:00Z, or null",
        default_text="00:00 UTC of the day on which it is first enabled",
        meaning="The first hour that the schedule exports; earlier ones come by backfill.",
    )
    enabled: bool = setting(
        True,
        allowed="true or false",
        meaning="Whether the schedule runs. A disabled destination can still be backfilled.",
    )
    reexport_changed: bool = setting(
        False,
        allowed="true or false",
        meaning="Whether the schedule exports an hour again when its content has changed.",
    )
    catch_up_hours: Annotated[int, Field(ge=0, le=744)] = setting(
        24,
        allowed="a whole number from 0 to 744",
        meaning="How many past hours each run looks through for unexported ones.",
    )
    close_wait: Annotated[int, Field(ge=0, le=3600)] = setting(
        300,
        allowed="a whole number of seconds from 0 to 3600",
        meaning="How long, in seconds, closing an hour waits for a load that is under way.",
    )
    late_after: Annotated[int, Field(ge=1, le=10_080)] = setting(
        60,
        allowed="a whole number of minutes from 1 to 10080",
        meaning="Minutes after an hour's end from which its export counts as late.",
    )

    quality: QualityConfig = setting(
        allowed="enabled, sample_rows, hold_hours, show_values, expectations",
        default_factory=QualityConfig,
        default_text="the built-in gate",
        meaning="What is expected of an hour before it is published.",
    )

    @field_validator("kms_key")
    @classmethod
    def _key_with_kms_only(cls, key: str | None, info: ValidationInfo) -> str | None:
        encryption = info.data.get("encryption")
        if encryption == "sse-kms" and key is None:
            raise ValueError("missing: encryption is sse-kms, and the store has to know with which key")
        if encryption in ("none", "sse-s3") and key is not None:
            raise ValueError(f"a key without a use: encryption is {encryption}")
        return key

    @property
    def dag_id(self) -> str:
        """The id of the destination's hourly DAG."""
        return f"export_hourly__{self.id}"

    def folder(self, project: int) -> str:
        """Return the folder of a project's objects below the bucket, empty or ending in a slash."""
        return self.prefix if self.flat_layout else f"{self.prefix}{project}/"

    def first_hour(self, enabled_at: datetime) -> datetime:
        """Return the first hour that the schedule exports, if it was first enabled at `enabled_at` (UTC)."""
        return self.start or enabled_at.replace(hour=0, minute=0, second=0, microsecond=0)
