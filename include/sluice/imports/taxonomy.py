"""Checks converted events against the plan of their project (decisions I-20)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sluice.config import Config, ImportConfig
from sluice.config.taxonomies import Answer, Taxonomy, ValueType
from sluice.converter import RowError
from sluice.imports.tally import count_bounded

# Exact types: true is no integer.
_FITTING: dict[ValueType, frozenset[type]] = {
    "string": frozenset({str}),
    "number": frozenset({int, float}),
    "integer": frozenset({int}),
    "boolean": frozenset({bool}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
    "any": frozenset({str, int, float, bool, list, dict}),
}
_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
# The original's own names, which no plan has to list.
_RESERVED = ("$", "[Amplitude]")

Plan = dict[str, ValueType]


class TaxonomyCheck:
    """Compares events, as the converter gives them, with a plan; it can be pickled."""

    FIELDS = ("event_type", "event_properties", "user_properties")
    """All of an event that `check` looks at."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        common = taxonomy.event_properties
        self._types = {name: {**common, **own} for name, own in taxonomy.event_types.items()}
        self._common = common
        self._user = taxonomy.user_properties
        self._unplanned = taxonomy.unplanned

    def check(self, event: dict[str, Any], counts: Counter[str]) -> None:
        """Count what is to be warned of. Raises RowError for what is to be rejected.

        Values that are no event at all, such as properties that are no object, are left to the event's own
        checks.
        """
        kind = event.get("event_type")
        if not isinstance(kind, str):
            return
        answers = self._unplanned
        plan, names = self._types.get(kind), answers.properties
        if plan is None:
            # Nobody planned what properties such a type has: only those of all types are looked at.
            plan, names = self._common, "allow"
            if not kind.startswith(_RESERVED):
                _answer(answers.event_types, counts, "event_type", f"{kind} is not planned")
        self._check_properties(event, "event_properties", plan, names, counts)
        self._check_properties(event, "user_properties", self._user, answers.properties, counts)

    def _check_properties(
        self, event: dict[str, Any], field: str, plan: Plan, names: Answer, counts: Counter[str]
    ) -> None:
        properties = event.get(field)
        if not isinstance(properties, dict):
            return
        for name, value in properties.items():
            planned = plan.get(name)
            if planned is None:
                if not name.startswith(_RESERVED):
                    _answer(names, counts, f"{field}.{name}", "is not planned")
            elif value is not None and not _fits(planned, value):
                found = _NAMES.get(type(value), type(value).__name__)
                _answer(
                    self._unplanned.value_types,
                    counts,
                    f"{field}.{name}",
                    f"is {found}, but planned as {planned}",
                )


def taxonomy_of(config: Config, source: ImportConfig) -> TaxonomyCheck | None:
    """Return the check of a source's events, or None if its project has no plan.

    A replay is not checked: its events were imported before.
    """
    taxonomy = None if source.replay else config.taxonomy(source.project)
    return None if taxonomy is None else TaxonomyCheck(taxonomy)


def _answer(answer: Answer, counts: Counter[str], field: str, fault: str) -> None:
    if answer == "reject":
        raise RowError(field, f"{fault} in the project's taxonomy")
    if answer == "warn":
        count_bounded(counts, f"{field}: {fault}")


def _fits(planned: ValueType, value: Any) -> bool:
    if type(value) in _FITTING[planned]:
        return True
    return planned == "integer" and type(value) is float and value.is_integer()
