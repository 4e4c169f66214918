"""Cohorts and their syncs: one YAML in include/config/cohorts/ each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from sluice.config.definitions import Definition, within_limits
from sluice.config.fields import (
    COHORT_ID_RULE,
    ID_RULE,
    CohortId,
    ConnectionId,
    Email,
    Id,
    IdsFile,
    Number,
    PropertyName,
    Prose,
    RoutingKey,
    Sql,
    Text,
)
from sluice.config.model import ConfigModel, setting
from sluice.config.projects import Project
from sluice.config.quality import QualityConfig

Cadence = Literal["one_time", "hourly", "daily", "real_time"]
CohortKind = Literal[
    "behavioral",
    "funnel",
    "retention",
    "stickiness",
    "nth_time",
    "event_within",
    "distinct_interval",
    "computation",
    "prediction",
]

Origin = Literal["sql", "definition", "ids_file"]

ORIGINS: tuple[Origin, ...] = get_args(Origin)
# All that a sync of every minute takes (amplitude-spec 2.3).
REAL_TIME_KIND: CohortKind = "behavioral"
# Members of a real-time sync (amplitude-spec 2.3, decisions K-10): more than these fail it.
MAX_REAL_TIME_MEMBERS = 1_000_000
MAX_PROPERTIES = 50


def _distinct_names(names: tuple[str, ...]) -> tuple[str, ...]:
    # The engines take names that differ by capitals only for one.
    folded = [name.casefold() for name in names]
    doubled = sorted({name for name in names if folded.count(name.casefold()) > 1})
    if doubled:
        raise ValueError(f"named twice (capitals do not count): {', '.join(doubled)}")
    if len(names) > MAX_PROPERTIES:
        raise ValueError(f"{len(names)} names, at most {MAX_PROPERTIES} are read")
    return names


PropertyNames = Annotated[tuple[PropertyName, ...], Field(strict=False), AfterValidator(_distinct_names)]


def property_columns(properties: Sequence[str], sources: Sequence[Project]) -> tuple[str, ...]:
    """Return the columns of properties: `<property> (<project>)` for each source of a portfolio.

    Rule: decisions K-16. `sources` is empty for a single project, whose columns are the properties.
    """
    if not sources:
        return tuple(properties)
    return tuple(f"{name} ({project.name})" for name in properties for project in sources)


class SyncConfig(ConfigModel):
    """One sync of a cohort: to which destination, how often, with which properties and which guard.

    Rules: amplitude-spec 2.1 and 2.3, decisions K-10, K-12, K-17.
    """

    # Who waits and how long something is kept: none of it is in the bytes or the names.
    UNHASHED: ClassVar = frozenset(
        {"cadence", "enabled", "max_exit_share", "max_entering", "approval_hours", "row_log_days"}
    )

    id: Id = setting(
        allowed=ID_RULE,
        meaning="Identity of the sync, never changed; no other sync of any cohort has it.",
    )
    destination: Id = setting(
        allowed="the id of a cohort destination that takes the cohort's project",
        meaning="Where the members go.",
    )
    cadence: Cadence = setting(
        allowed="one_time, hourly, daily or real_time",
        meaning=(
            "How often: `hourly`, `daily`, `real_time` (every minute, to Kinesis only) by their schedules,"
            " `one_time` by hand (DAG `cohort_sync_once`)."
        ),
    )
    enabled: bool = setting(
        True,
        allowed="true or false",
        meaning="Whether the schedule runs it. A disabled sync can still be backfilled, and run by hand.",
    )
    user_properties: PropertyNames = setting(
        (),
        allowed="a list of names from the cohort's `properties`",
        meaning="What is sent of each member besides the ids, after the destination's `user_property`.",
    )
    routing_key: RoutingKey | None = setting(
        None,
        allowed="1 to 64 letters, digits, dots and dashes, or null; for S3 only",
        meaning="Text at the end of the names of the files.",
    )
    max_exit_share: Annotated[float, Field(ge=0, le=1)] | None = setting(
        None,
        allowed="a number from 0 to 1, or null",
        default_text="no limit",
        meaning="A sync in which a larger share of the members leaves waits for a person.",
    )
    max_entering: Annotated[int, Field(ge=0)] | None = setting(
        None,
        allowed="a whole number from 0, or null",
        default_text="no limit",
        meaning="A sync in which more members enter waits for a person.",
    )
    approval_hours: Annotated[int, Field(ge=1, le=168)] = setting(
        12,
        allowed="a whole number of hours from 1 to 168",
        meaning="How long a sync waits for a person; then it is given up, and the baseline stays.",
    )
    row_log_days: Annotated[int, Field(ge=1, le=3_660)] = setting(
        14,
        allowed="a whole number of days from 1 to 3660",
        meaning="How long the row log (who was added, removed, skipped) and the sent bytes are kept.",
    )


class CohortConfig(ConfigModel):
    """One cohort: who is a member, and which syncs send it.

    Rules: amplitude-spec 2, decisions K-10, K-16, K-17.
    """

    # The name is in each message; a sync has a hash of its own.
    UNHASHED: ClassVar = frozenset({"description", "owner", "syncs", "quality"})

    id: CohortId = setting(
        allowed=COHORT_ID_RULE,
        meaning="Identity of the cohort, never changed: it is in the names of the files and in the messages.",
    )
    name: Text = setting(allowed="text", meaning="What people call it; each message carries it.")
    description: Prose = setting("", allowed="text", meaning="Who is meant.")
    owner: Email = setting(allowed="an e-mail address", meaning="Who is told when a sync of it fails.")
    project: Number = setting(
        allowed="the id of a project of projects.yaml, single or portfolio",
        meaning="Whose users are looked at; the number is in the names of the files.",
    )
    sql: Sql | None = setting(
        None,
        allowed="one SELECT; exactly one of sql, definition and ids_file",
        meaning=(
            "The query over the lake's tables that returns `amplitude_id`, `user_id` and the `properties`;"
            " `$as_of` is the as-of time."
        ),
    )
    connection: ConnectionId | None = setting(
        None,
        allowed="with sql, and only then: the id of an Airflow connection, or null",
        default_text="the embedded engine",
        meaning="Airflow connection to the database that runs `sql` instead of the embedded engine.",
    )
    definition: Annotated[Definition, AfterValidator(within_limits)] | None = setting(
        None,
        allowed="all, any, not, did, did_not, had or first_seen; exactly one of sql, definition and ids_file",
        meaning="A behavioural definition, from which the query is written.",
    )
    ids_file: IdsFile | None = setting(
        None,
        allowed="the name of a CSV file in cohorts/; exactly one of sql, definition and ids_file",
        meaning="The members' ids, in a column `user_id` or `amplitude_id`.",
    )
    properties: PropertyNames = setting(
        (),
        allowed="a list of names",
        meaning=(
            "What syncs may send: the further columns of the query or of the file; user properties, with"
            " their latest values, for a definition."
        ),
    )
    kind: CohortKind = setting(
        "behavioral",
        allowed=(
            "behavioral, funnel, retention, stickiness, nth_time, event_within, distinct_interval,"
            " computation or prediction; with sql only"
        ),
        meaning="What the query computes; only `behavioral` can be synced in real time.",
    )
    syncs: Annotated[tuple[SyncConfig, ...], Field(strict=False)] = setting(
        (), allowed="a list of syncs", meaning="Where the cohort is sent, and how often."
    )
    quality: QualityConfig = setting(
        allowed="enabled, sample_rows, hold_hours, show_values, expectations",
        default_factory=QualityConfig,
        default_text="the built-in gate",
        meaning="What is expected of the members before they are sent.",
    )

    @property
    def origin(self) -> Origin:
        """The key that says who is a member."""
        return next(name for name in ORIGINS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        origins = [name for name in ORIGINS if getattr(self, name) is not None]
        if len(origins) != 1:
            named = " and ".join(origins) or "none of them"
            raise ValueError(
                f"a cohort comes from exactly one of sql, definition and ids_file; this one has {named}"
            )
        if self.connection is not None and self.sql is None:
            raise ValueError(
                f"`connection` names the database of an `sql`, and this cohort comes from `{self.origin}`:"
                " take `connection` out"
            )
        if self.kind != "behavioral" and self.sql is None:
            raise ValueError(
                f"`kind: {self.kind}` says what an `sql` computes, and a cohort from `{self.origin}` is"
                " behavioral: take `kind` out, or write the cohort as sql"
            )
        return self
