"""Import sources: one YAML in include/config/imports/ each."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from sluice.config.fields import (
    ID_RULE,
    ConnectionId,
    ConverterFile,
    Day,
    Email,
    Id,
    ImportBucket,
    KeyPrefix,
    Layout,
    Number,
    Prose,
    QueueUrl,
    Region,
    Text,
)
from sluice.config.model import ConfigModel, setting
from sluice.config.quality import QualityConfig
from sluice.config.strategies import DataType, Strategy, require_available


def _fits_data_type(value: Strategy, info: ValidationInfo) -> Strategy:
    if "data_type" in info.data:
        require_available(info.data["data_type"], value)
    return value


def _unless_replay(value: str, info: ValidationInfo) -> str:
    replay = info.data.get("replay")
    if replay and value:
        raise ValueError("a source with `replay: true` has no converter: its rows are in export form already")
    if replay is False and not value:
        raise ValueError(
            "missing: rows become events by a converter (only with `replay: true` they are some)"
        )
    return value


def _for_notifications(value: str | None, info: ValidationInfo) -> str | None:
    discovery = info.data.get("discovery")
    if discovery == "notifications" and value is None:
        raise ValueError("missing: `discovery: notifications` takes its notifications from an SQS queue")
    if discovery == "scan" and value is not None:
        raise ValueError("only `discovery: notifications` reads a queue; this source scans")
    return value


def _for_scans(value: str | None, info: ValidationInfo) -> str | None:
    if value is not None and info.data.get("discovery") == "notifications":
        raise ValueError("only `discovery: scan` lists date folders, and this source is told of each file")
    return value


class ImportConfig(ConfigModel):
    """One source of the S3 import: which files become which project's events, by which converter.

    Rules: amplitude-spec 4.2, 4.4 and 4.5, decisions E-21, I-1, I-12, I-14, I-22.
    """

    # Who, when and in which portions: none of it changes a row.
    UNHASHED: ClassVar = frozenset(
        {
            *("name", "description", "owner", "enabled", "account", "max_hours_per_load"),
            *("discovery", "scan_every", "queue", "sweep_every", "layout", "recent_hours", "quality"),
        }
    )
    # What may not change once the source has imported (decisions I-22).
    FIXED: ClassVar = frozenset({"bucket", "prefix", "region", "connection"})

    id: Id = setting(
        allowed=ID_RULE,
        meaning="Identity of the source, never changed: its DAG is `import_s3__<id>`.",
    )
    name: Text = setting(allowed="text", meaning="What people call it.")
    description: Prose = setting("", allowed="text", meaning="What it brings.")
    owner: Email = setting(
        allowed="an e-mail address", meaning="Who is told when it fails, and the owner of its DAG."
    )
    project: Number = setting(
        allowed="the id of a single project of projects.yaml", meaning="The project that the events go to."
    )
    bucket: ImportBucket = setting(
        allowed="3 to 63 small letters, digits and dashes",
        meaning="The bucket that the files lie in. Fixed after the first import.",
    )
    prefix: KeyPrefix = setting(
        "",
        allowed="the beginning of the files' keys; a folder ends in a slash",
        default_text="the whole bucket",
        meaning="Only objects whose key begins so are looked at. Fixed after the first import.",
    )
    region: Region = setting(
        allowed="an AWS region such as us-east-1",
        meaning="The region of the bucket. Fixed after the first import.",
    )
    connection: ConnectionId = setting(
        "aws_default",
        allowed="the id of an Airflow connection",
        meaning="Airflow connection (type aws) that may read the bucket. Fixed after the first import.",
    )
    account: Literal["own", "other"] = setting(
        "other",
        allowed="own or other",
        meaning=(
            "Whose AWS account the bucket is in. For `other`, the connection must hold a role ARN and an"
            " external id."
        ),
    )
    replay: bool = setting(
        False,
        allowed="true or false",
        meaning=(
            "Whether the files are exports already, Amplitude's or Sluice's: their rows keep `uuid`,"
            " `amplitude_id` and server times, and need no converter."
        ),
    )
    converter: Annotated[ConverterFile, AfterValidator(_unless_replay)] = setting(
        "",
        allowed="the name of a JSON file in converters/; none with `replay: true`",
        default_text="**required** without `replay`",
        meaning="The converter that turns the files' rows into events.",
        validate_default=True,
    )
    data_type: DataType = setting(
        "event",
        allowed="event, user_properties, group_properties or profiles",
        meaning="What a row is; the table below says which strategies fit, and which are there yet.",
    )
    strategy: Annotated[Strategy, AfterValidator(_fits_data_type)] = setting(
        "append_only",
        allowed="append_only or mirror",
        meaning="How rows enter: `append_only` adds new ones, `mirror` also changes and deletes.",
        validate_default=True,
    )
    upload_time: Literal["now", "event_time"] = setting(
        "now",
        allowed="now or event_time",
        meaning=(
            "Which hour a row is exported in: that of the load, or, for a first historical load, that of the"
            " event itself."
        ),
    )
    not_before: Day = setting(
        date(2000, 1, 1),
        allowed="a date such as 2000-01-01",
        meaning="With `upload_time: event_time`, rows of an earlier UTC date are rejected.",
    )
    require_time: bool = setting(
        True,
        allowed="true or false",
        meaning="Whether a row without `time` is rejected, instead of getting the time of the load.",
    )
    max_hours_per_load: Annotated[int, Field(ge=1, le=10_000)] = setting(
        2000,
        allowed="a whole number from 1 to 10000",
        meaning="How many hours one load touches at most, where whole files allow it.",
    )
    min_bytes: Annotated[int, Field(ge=0)] = setting(
        1_000_000,
        allowed="a whole number of bytes, below max_bytes",
        meaning="Files of this size or smaller fall under `size_policy`.",
    )
    max_bytes: Annotated[int, Field(ge=1, le=5_000_000_000_000)] = setting(
        1_000_000_000,
        allowed="a whole number of bytes, above min_bytes",
        meaning="Files of this size or larger fall under `size_policy`.",
    )
    size_policy: Literal["reject", "warn", "ignore"] = setting(
        "reject",
        allowed="reject, warn or ignore",
        meaning="What becomes of files outside the limits: failed, imported with a warning, or imported.",
    )
    error_budget: Annotated[float, Field(ge=0, le=1)] = setting(
        0.05,
        allowed="a share from 0 to 1",
        meaning=(
            "The share of a file's rows that may be rejected; above it, the file fails as a whole and none of"
            " it is loaded. 0 lets no bad row pass, 1 never fails a file."
        ),
    )
    discovery: Literal["scan", "notifications"] = setting(
        "scan",
        allowed="scan or notifications",
        meaning="How new files are found: by listing the prefix, or by S3's notifications in an SQS queue.",
    )
    scan_every: Annotated[int, Field(ge=1, le=10_080)] | None = setting(
        10,
        allowed="a whole number of minutes from 1 to 10080, or null",
        meaning=(
            "How often, in minutes, the prefix is searched for new files; `null` means by hand only. Does not"
            " apply to `discovery: notifications`."
        ),
    )
    queue: Annotated[QueueUrl | None, AfterValidator(_for_notifications)] = setting(
        None,
        allowed="an URL such as https://sqs.us-east-1.amazonaws.com/123456789012/files",
        default_text="**required** with `discovery: notifications`",
        meaning="The SQS queue that S3 writes its notifications to.",
        validate_default=True,
    )
    layout: Annotated[Layout | None, AfterValidator(_for_scans)] = setting(
        None,
        allowed="date folders such as {yyyy}/{MM}/{dd}/{HH}/, or null",
        meaning=(
            "With `scan`: files lie in date folders (UTC) below the prefix. A scan then lists those of the"
            " last `recent_hours` only, and everything every `sweep_every`."
        ),
    )
    recent_hours: Annotated[int, Field(ge=1, le=8784)] = setting(
        48,
        allowed="a whole number of hours from 1 to 8784",
        meaning="With `layout`: how far back, in hours, a scan lists date folders.",
    )
    sweep_every: Annotated[int, Field(ge=1, le=44_640)] = setting(
        1440,
        allowed="a whole number of minutes from 1 to 44640",
        meaning=(
            "With `notifications` or `layout`: how often, in minutes, the whole prefix is listed, so that no"
            " file is missed for longer."
        ),
    )
    enabled: bool = setting(
        False,
        allowed="true or false",
        meaning=(
            "Whether the source imports by schedule or notification. Its converter must have passed"
            " `sluice import enable` as well."
        ),
    )

    quality: QualityConfig = setting(
        allowed="enabled, sample_rows, hold_hours, show_values, expectations",
        default_factory=QualityConfig,
        default_text="the built-in gate",
        meaning="What is expected of converted rows before they are loaded.",
    )

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        if self.min_bytes >= self.max_bytes:
            raise ValueError(
                f"no file fits: min_bytes {self.min_bytes} is not below max_bytes {self.max_bytes}"
            )
        return self

    @property
    def dag_id(self) -> str:
        """The id of the source's DAG."""
        return f"import_s3__{self.id}"
