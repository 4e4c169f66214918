"""The key `quality` of an export, an import or a cohort: what its gate asks of the data, and how strictly."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from sluice.config.fields import Prose, Text
from sluice.config.model import ConfigModel, setting


class ExpectationConfig(ConfigModel):
    """One expectation, as Great Expectations writes it: its name and its arguments."""

    type: Text = setting(
        allowed="the name of an expectation of Great Expectations, see docs/quality.md",
        meaning="What is expected.",
    )
    kwargs: dict[str, Any] = setting(
        allowed="the expectation's arguments",
        default_factory=dict,
        default_text="no arguments",
        meaning="Of which column, within which bounds and so on.",
    )
    severity: Literal["critical", "warning"] = setting(
        "critical",
        allowed="critical or warning",
        meaning="Whether a failure stops the data or is only shown.",
    )
    notes: Prose = setting("", allowed="text", meaning="Why it is expected; the report shows it.")


class QualityConfig(ConfigModel):
    """The gate of one pipeline."""

    enabled: bool = setting(
        True, allowed="true or false", meaning="Whether the data pass a gate before they become visible."
    )
    sample_rows: Annotated[int, Field(ge=0, le=100_000)] = setting(
        2_000,
        allowed="a whole number from 0 to 100000",
        meaning="How many rows, at most, are looked at one by one; aggregates are over all rows.",
    )
    hold_hours: Annotated[int, Field(ge=1, le=720)] = setting(
        72,
        allowed="a whole number of hours from 1 to 720",
        meaning="How long what the gate has stopped waits for a person.",
    )
    show_values: bool = setting(
        False,
        allowed="true or false",
        meaning="Whether reports show values that failed; they may be personal data.",
    )
    expectations: Annotated[tuple[ExpectationConfig, ...], Field(strict=False)] = setting(
        (),
        allowed="a list of expectations",
        default_text="those that every gate of its kind has",
        meaning="What else is expected of the data.",
    )
