"""Organisations and their projects: include/config/projects.yaml."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sluice.config.fields import Email, Number, TaxonomyFile, Text
from sluice.config.model import ConfigModel, setting


def _distinct(values: tuple[object, ...]) -> tuple[object, ...]:
    doubles = {str(value) for value in values if values.count(value) > 1}
    if doubles:
        raise ValueError(f"named twice: {', '.join(sorted(doubles))}")
    return values


def _one_or_more(values: tuple[object, ...]) -> tuple[object, ...]:
    if not values:
        raise ValueError("an empty list")
    return _distinct(values)


OneOrMore = AfterValidator(_one_or_more)
ProjectIds = Annotated[tuple[Number, ...], Field(strict=False), AfterValidator(_distinct)]


class Organisation(ConfigModel):
    """One customer: owns projects and buckets, and names who is written to when access fails."""

    UNHASHED: ClassVar = frozenset({"name", "administrators"})

    id: Number = setting(
        allowed="a positive whole number, never changed later",
        meaning="Identity of the organisation; the folder and name of its merged-IDs files carry it.",
    )
    name: Text = setting(allowed="text", meaning="What people call it.")
    administrators: Annotated[tuple[Email, ...], Field(strict=False)] = setting(
        (), allowed="a list of e-mail addresses", meaning="Who is told when a destination loses its access."
    )


class Project(ConfigModel):
    """One Amplitude project (amplitude-spec 1.1): the `app` of its events."""

    UNHASHED: ClassVar = frozenset({"name", "taxonomy"})

    id: Number = setting(
        allowed="a positive whole number, never changed later",
        meaning="Identity of the project: the `app` of its events and the number in the names of its files.",
    )
    name: Text = setting(allowed="text", meaning="What people call it.")
    organisation: Number = setting(
        allowed="the id of an organisation of this file", meaning="The organisation that owns the project."
    )
    kind: Literal["single", "portfolio"] = setting(
        "single",
        allowed="single or portfolio",
        meaning=(
            "`single` holds events of its own; `portfolio` looks at several single projects together,"
            " and can be neither imported into nor exported."
        ),
    )
    sources: ProjectIds = setting(
        (),
        allowed="a list of ids of single projects of the same organisation, for a portfolio only",
        meaning="The projects that a portfolio looks at, in the order of its columns.",
    )
    taxonomy: TaxonomyFile | None = setting(
        None,
        allowed="the name of a YAML file in taxonomies/, or null",
        meaning="The plan of event types and properties that imported events are checked against.",
    )

    @model_validator(mode="after")
    def _sources_fit_kind(self) -> Self:
        if self.kind == "portfolio" and not self.sources:
            raise ValueError("a portfolio project needs sources: the ids of the projects that it looks at")
        if self.kind == "single" and self.sources:
            raise ValueError("only a portfolio project has sources")
        if self.kind == "portfolio" and self.taxonomy is not None:
            raise ValueError("a portfolio has no events of its own, so no taxonomy")
        return self
