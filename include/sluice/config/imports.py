"""Import sources: one YAML in include/config/imports/ each."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from sluice.config.fields import (
    ID_RULE,
    ConnectionId,
    ConverterFile,
    Day,
    Email,
    Id,
    ImportBucket,
    KeyPrefix,
    Number,
    Prose,
    Region,
    Text,
)
from sluice.config.model import ConfigModel, setting

# Which strategy fits which data type (decisions I-14).
STRATEGIES = {
    "event": ("append_only", "mirror"),
    "user_properties": ("append_only",),
    "group_properties": ("append_only",),
    "profiles": ("mirror",),
}


def _available_type(value: Any) -> Any:
    if value in STRATEGIES and value != "event":
        raise ValueError(f"the data type {value} is known, but this version of Sluice imports events only")
    return value


def _available_strategy(value: Any) -> Any:
    if value == "mirror":
        raise ValueError("the strategy mirror is known, but this version of Sluice only appends")
    return value


class ImportConfig(ConfigModel):
    """One source of the S3 import: which files become which project's events, by which converter.

    Rules: amplitude-spec 4.2, 4.4 and 4.5, decisions E-21, I-1, I-12, I-14, I-22.
    """

    # Who, when and in which portions: none of it changes a row.
    UNHASHED: ClassVar = frozenset(
        {"name", "description", "owner", "enabled", "account", "scan_every", "max_hours_per_load"}
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
    converter: ConverterFile = setting(
        allowed="the name of a JSON file in converters/",
        meaning="The converter that turns the files' rows into events.",
    )
    data_type: Annotated[Literal["event"], BeforeValidator(_available_type)] = setting(
        "event",
        allowed="event",
        meaning="What a row is. User properties, group properties and profiles are not imported yet.",
    )
    strategy: Annotated[Literal["append_only"], BeforeValidator(_available_strategy)] = setting(
        "append_only",
        allowed="append_only",
        meaning="How rows enter: `append_only` adds new ones. `mirror` is not there yet.",
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
    scan_every: Annotated[int, Field(ge=1, le=10_080)] | None = setting(
        10,
        allowed="a whole number of minutes from 1 to 10080, or null",
        meaning="How often, in minutes, the prefix is searched for new files; `null` means by hand only.",
    )
    enabled: bool = setting(
        True,
        allowed="true or false",
        meaning="Whether the schedule runs. A disabled source can still be started by hand.",
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
