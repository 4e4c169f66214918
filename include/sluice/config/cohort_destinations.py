"""Where cohorts are sent, S3 or Kinesis: one YAML in include/config/cohort_destinations/ each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sluice.config.fields import (
    ID_RULE,
    Bucket,
    ConnectionId,
    Email,
    FolderPrefix,
    Id,
    MatchBy,
    PropertyName,
    Prose,
    Region,
    StreamName,
    Text,
)
from sluice.config.model import ConfigModel, setting
from sluice.config.projects import OneOrMore, ProjectIds

TimestampFormat = Literal["%Y-%m-%dT%H-%M", "%Y-%m-%dT%H-%M-%S", "%Y-%m-%dT%H-%S", "%Y-%m-%dT%H:%S"]
# The two forms of the vendor's page, taken at their word: hour and seconds, and no minutes.
WITHOUT_MINUTES: frozenset[TimestampFormat] = frozenset({"%Y-%m-%dT%H-%S", "%Y-%m-%dT%H:%S"})

# A partition key has at most 256 characters of at most 4 bytes.
PARTITION_KEY_BYTES = 1_024


class _CohortDestination(ConfigModel):
    """What S3 and Kinesis have in common (amplitude-spec 2.1 and 3.2, decisions K-15 and K-17)."""

    id: Id = setting(allowed=ID_RULE, meaning="Identity of the destination, which syncs name.")
    name: Text = setting(
        allowed="text that no other cohort destination has as its name",
        meaning="What people call it. Baselines hang on it: under a new name each sync begins anew.",
    )
    description: Prose = setting("", allowed="text", meaning="Who reads it.")
    owner: Email = setting(allowed="an e-mail address", meaning="Who is told when it fails.")
    projects: Annotated[ProjectIds, OneOrMore] = setting(
        allowed="a list of one or more ids of projects of projects.yaml",
        meaning="Whose cohorts may be sent there.",
    )
    region: Region | None = setting(
        None,
        allowed="an AWS region such as us-east-1, or null",
        default_text="the connection's region",
        meaning="The region of the bucket or stream.",
    )
    connection: ConnectionId = setting(
        "aws_default",
        allowed="the id of an Airflow connection",
        meaning="Airflow connection (type aws) with the credentials and endpoint.",
    )
    enabled: bool = setting(
        True,
        allowed="true or false",
        meaning="Whether schedules send there: `false` disables all syncs to it. Backfills work on.",
    )
    match_by: MatchBy = setting(
        "user_id",
        allowed="user_id, or the name of a property that each cohort sent there has",
        meaning="Whose value matches members with the receiver's users; it is sent as the user id.",
    )
    user_property: PropertyName | None = setting(
        None,
        allowed="the name of a property that each cohort sent there has, or null",
        meaning="A property that every sync sends, before those that it names itself.",
    )


class S3CohortDestination(_CohortDestination):
    """A bucket that gets three CSV files a sync (amplitude-spec 2.2, decisions K-1 to K-4 and K-12)."""

    # Who and whether: none of it is in the bytes or the names of the files.
    UNHASHED: ClassVar = frozenset({"description", "owner", "projects", "enabled", "require_suffix"})

    kind: Literal["s3"] = setting(allowed="s3 or kinesis", meaning="`s3`: three CSV files a sync.")
    bucket: Bucket = setting(
        allowed="the name of an S3 bucket: 3 to 63 small letters, digits, dots and dashes",
        meaning="The bucket that is written to.",
    )
    path: FolderPrefix = setting(
        "",
        allowed="folders such as audiences/crm, or an empty text for the bucket's root",
        default_text="the bucket's root",
        meaning="The folder that the files lie in; it always ends in one slash.",
    )
    timestamp_format: TimestampFormat = setting(
        "%Y-%m-%dT%H-%M",
        allowed="%Y-%m-%dT%H-%M, %Y-%m-%dT%H-%M-%S, %Y-%m-%dT%H-%S or %Y-%m-%dT%H:%S",
        meaning="How the as-of time (UTC) stands in the names. The last two lack the minutes.",
    )
    header_style: Literal["docs", "api"] = setting(
        "docs",
        allowed="docs or api",
        meaning="Names of the id columns: `docs` amplitudeID and userID, `api` amplitude_id and user_id.",
    )
    existing_mode: Literal["full", "carried_over", "previous"] = setting(
        "full",
        allowed="full, carried_over or previous",
        meaning=(
            "Who is in `existing`: `full` all members, `carried_over` those who neither came nor left,"
            " `previous` the members of the last sync."
        ),
    )
    csv_safe: bool = setting(
        False,
        allowed="true or false",
        meaning="Whether cells that a spreadsheet would run as a formula get an apostrophe in front.",
    )
    require_suffix: bool = setting(
        False, allowed="true or false", meaning="Whether each sync must have a `routing_key`."
    )


class KinesisCohortDestination(_CohortDestination):
    """A stream that gets messages of who came and who left (amplitude-spec 3, decisions K-5 to K-9)."""

    # Who, whether and how fast: none of it is in the messages.
    UNHASHED: ClassVar = frozenset({"description", "owner", "projects", "enabled", "shards"})

    kind: Literal["kinesis"] = setting(
        allowed="s3 or kinesis", meaning="`kinesis`: messages of who came and who left."
    )
    stream: StreamName = setting(
        allowed="the name of a Kinesis stream: 1 to 128 letters, digits, dots, dashes and underscores",
        meaning="The stream that is written to.",
    )
    max_users: Annotated[int, Field(ge=1, le=1_000)] = setting(
        1_000, allowed="a whole number from 1 to 1000", meaning="Users in one message, at most."
    )
    max_message_bytes: Annotated[int, Field(ge=1_024, le=921_600)] = setting(
        921_600,
        allowed="a whole number of bytes from 1024 to 921600 (900 KiB)",
        meaning="Bytes of one message, at most.",
    )
    max_record_bytes: Annotated[int, Field(ge=2_048, le=5 * 1_048_576)] = setting(
        1_048_576,
        allowed="a whole number of bytes from 2048 to 5242880",
        meaning="Bytes that the stream takes as one record, partition key included.",
    )
    partition_key: Literal["message_id", "cohort_id"] = setting(
        "message_id",
        allowed="message_id or cohort_id",
        meaning="`message_id` spreads messages over the shards, `cohort_id` keeps a cohort on one shard.",
    )
    shards: Annotated[int, Field(ge=1, le=100_000)] | None = setting(
        None,
        allowed="a whole number from 1 to 100000, or null",
        default_text="asked from the stream, 1 where that is not allowed",
        meaning="How many shards the sending is paced to.",
    )

    @model_validator(mode="after")
    def _messages_fit(self) -> Self:
        if self.max_message_bytes + PARTITION_KEY_BYTES > self.max_record_bytes:
            raise ValueError(
                f"a message of max_message_bytes {self.max_message_bytes} and its partition key (up to"
                f" {PARTITION_KEY_BYTES} bytes) do not fit into max_record_bytes {self.max_record_bytes}:"
                " lower the one or raise the other"
            )
        return self


CohortDestination = S3CohortDestination | KinesisCohortDestination


def destination_model(content: Mapping[str, Any]) -> type[CohortDestination]:
    """Return the model that a file's `kind` asks for; S3's where it names none that there is."""
    return KinesisCohortDestination if content.get("kind") == "kinesis" else S3CohortDestination
