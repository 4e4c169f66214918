"""The key `quality` of an export, an import or a cohort: what its gate asks of the data, and how strictly."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from sluice.config.expectation_values import as_json
from sluice.config.expectations import default_severity, mistakes
from sluice.config.fields import Prose, Text
from sluice.config.model import ConfigModel, setting
from sluice.config.problems import NotAllowed

# As many expectations as a suite may have: each is a part of one query, and of one report.
MAX_EXPECTATIONS = 200


def _severity(data: dict[str, Any]) -> str:
    return default_severity(data.get("type", ""))


class ExpectationConfig(ConfigModel):
    """One expectation, as Great Expectations writes it: its name and its arguments.

    The arguments are JSON types: times of the YAML are text.
    """

    type: Text = setting(
        allowed="the name of an expectation, see docs/quality-expectations.md",
        meaning="What is expected.",
    )
    kwargs: Annotated[dict[str, Any], BeforeValidator(as_json)] = setting(
        allowed="the expectation's arguments",
        default_factory=dict,
        default_text="no arguments",
        meaning="Of which column, within which bounds and so on.",
    )
    severity: Literal["critical", "warning"] = setting(
        allowed="critical or warning",
        default_factory=_severity,
        default_text="`critical`; `warning` for `expect_row_count_like_weeks_before`",
        meaning="Whether a failure stops the data or is only shown.",
    )
    notes: Prose = setting("", allowed="text", meaning="Why it is expected; the report shows it.")

    @model_validator(mode="after")
    def _as_in_the_catalogue(self) -> Self:
        found = mistakes(self.type, self.kwargs)
        if found:
            # Each with the argument that it is about: a problem names the line.
            raise ValidationError.from_exception_data(
                self.type,
                [
                    InitErrorDetails(
                        type="value_error",
                        loc=mistake.path,
                        input=mistake.found,
                        ctx={"error": NotAllowed(mistake.message, mistake.allowed)},
                    )
                    for mistake in found
                ],
            )
        return self


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
    expectations: Annotated[
        tuple[ExpectationConfig, ...], Field(strict=False, max_length=MAX_EXPECTATIONS)
    ] = setting(
        (),
        allowed=f"a list of at most {MAX_EXPECTATIONS} expectations",
        default_text="those that every gate of its kind has",
        meaning="What else is expected of the data.",
    )
