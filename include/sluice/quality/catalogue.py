"""The catalogue of expectations, taken from the installed Great Expectations, with Sluice's own beside them.

`python -m sluice.quality.catalogue include/sluice/config/expectations.json` brings the file up to date. The
configuration is checked against that file, so that reading it imports no Great Expectations.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

# What stands beside the arguments in a suite, or is a matter of whoever runs it.
NOT_ARGUMENTS = frozenset(
    {
        *("id", "meta", "notes", "description", "severity", "rendered_content", "library_metadata"),
        *("result_format", "catch_exceptions", "batch_id", "windows", "row_condition", "condition_parser"),
    }
)

_LIKE = "Great Expectations evaluates LIKE patterns in databases only: write it as a regular expression"
_COLUMNS = (
    "which columns there are is Sluice's own doing, not the data's: ask for their values"
    " (expect_column_values_to_not_be_null)"
)
_QUERY = "it runs a query of its own on a data source of Great Expectations, and a gate has none"

# Expectations that cannot work in a gate, and why.
REFUSED: Mapping[str, str] = {
    "expect_column_values_to_match_like_pattern": f"{_LIKE} (expect_column_values_to_match_regex)",
    "expect_column_values_to_match_like_pattern_list": f"{_LIKE} (expect_column_values_to_match_regex_list)",
    "expect_column_values_to_not_match_like_pattern": f"{_LIKE} (expect_column_values_to_not_match_regex)",
    "expect_column_values_to_not_match_like_pattern_list": (
        f"{_LIKE} (expect_column_values_to_not_match_regex_list)"
    ),
    "expect_column_type_to_be": (
        "it asks for the type of a table's column, which the lake fixes: ask for the type of each value"
        " (expect_column_values_to_be_of_type)"
    ),
    "expect_table_row_count_to_equal_other_table": (
        "a gate sees one table: that rows read, written and delivered are as many is checked always"
    ),
    "expect_column_to_exist": _COLUMNS,
    "expect_table_column_count_to_be_between": _COLUMNS,
    "expect_table_column_count_to_equal": _COLUMNS,
    "expect_table_columns_to_match_ordered_list": _COLUMNS,
    "expect_table_columns_to_match_set": _COLUMNS,
    "expect_query_results_to_match_comparison": _QUERY,
    "unexpected_rows_expectation": _QUERY,
}

# Sluice's own: which pipelines have them, and what they ask.
OWN: Mapping[str, Mapping[str, Any]] = {
    "expect_row_count_like_weeks_before": {
        "domain": "table",
        "method": "history",
        "own": True,
        "pipelines": ["export", "import"],
        "severity": "warning",
        "meaning": (
            "Expect about as many rows as in the same hour of the weeks before: between `min_ratio` and"
            " `max_ratio` of their median. It holds while fewer than two such weeks are known, or if their"
            " median is below `min_rows`."
        ),
        "arguments": {
            "weeks": {"type": "count", "default": 4},
            "min_ratio": {"type": "ratio", "default": 0.25},
            "max_ratio": {"type": "ratio", "default": 4.0},
            "min_rows": {"type": "count", "default": 50},
        },
    },
    "expect_row_count_to_keep": {
        "domain": "table",
        "method": "history",
        "own": True,
        "pipelines": ["cohort"],
        "severity": "critical",
        "meaning": (
            "Expect about as many members as in the turn before: between `min_ratio` and `max_ratio` (none by"
            " default) of them. It holds if there were fewer than `min_rows`."
        ),
        "arguments": {
            "min_ratio": {"type": "ratio", "default": 0.2},
            "max_ratio": {"type": "ratio", "default": None},
            "min_rows": {"type": "count", "default": 100},
        },
    },
}

_DOMAINS = {
    "ColumnMapExpectation": "column",
    "ColumnAggregateExpectation": "column",
    "ColumnPairMapExpectation": "pair of columns",
    "MulticolumnMapExpectation": "several columns",
    "BatchExpectation": "table",
}

# What the library lets be missing, and without which nothing would be asked.
_REQUIRED = frozenset({"partition_object", "threshold", "type_list", "column_list", "column_set", "regex"})

# Types that the library leaves open, or says too broadly, by the argument's name.
_NAMED = {
    "column": "column",
    "column_A": "column",
    "column_B": "column",
    "column_list": "columns",
    "column_set": "columns",
    "mostly": "share",
    "internal_weight_holdout": "share",
    "tail_weight_holdout": "share",
    "multiplier": "positive",
    "value_set": "values",
    "value_pairs_set": "pairs",
    "partition_object": "partition",
    "quantile_ranges": "quantiles",
    "json_schema": "schema",
    "type_": "type",
    "type_list": "types",
    "regex": "pattern",
    "regex_list": "patterns",
    "strftime_format": "time format",
    "column_index": "count",
}


def catalogue() -> dict[str, Any]:
    """Return the catalogue: the library's version, and each expectation by its name.

    `domain` is what it is about; `method` how it is checked; `arguments` maps each argument to its `type`
    (of sluice.config.expectations), whether it is `required`, and its `default`; `refused` says why it cannot
    work in a gate; `own` marks those of Sluice. Takes about 4 s: the library is large.
    """
    import great_expectations
    import great_expectations.expectations
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    from sluice.quality.exact import TYPES

    found = {
        name: _entry(name, get_expectation_impl(name), exact=name in TYPES)
        for name in list_registered_expectation_implementations()
    }
    return {
        "great_expectations": great_expectations.__version__,
        "expectations": dict(sorted((found | {name: dict(entry) for name, entry in OWN.items()}).items())),
    }


def text_of(content: Mapping[str, Any]) -> str:
    """Return the catalogue as the text of its file."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _entry(name: str, kind: Any, *, exact: bool) -> dict[str, Any]:
    domain = next(_DOMAINS[base.__name__] for base in kind.__mro__ if base.__name__ in _DOMAINS)
    meaning = _first_sentence(kind.__doc__ or "")
    if name in REFUSED:
        return {"domain": domain, "meaning": meaning, "refused": REFUSED[name]}
    return {
        "domain": domain,
        "method": "exact" if exact else "sample",
        "meaning": meaning,
        "arguments": dict(_arguments(kind, of_table=domain == "table")),
    }


def _arguments(kind: Any, *, of_table: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in kind.__fields__.items():
        if name in NOT_ARGUMENTS:
            continue
        argument: dict[str, Any] = {}
        choices = [choice for choice in _choices(field.outer_type_) if isinstance(choice, str)]
        if choices:
            argument["choices"] = choices
        else:
            argument["type"] = _NAMED.get(name) or _type(field.outer_type_, of_table=of_table)
        if field.required or name in _REQUIRED:
            argument["required"] = True
        elif field.default is not None:
            argument["default"] = field.default
        yield name, argument


def _type(annotation: Any, *, of_table: bool) -> str:
    """Return the narrowest of the types that an argument may have; the library reads times as well."""
    types = {getattr(kind, "__name__", "") for kind in _members(annotation)}
    if "bool" in types:
        return "boolean"
    if of_table or "int" in types:
        # A number of rows or columns, or of characters.
        return "count"
    if "datetime" in types:
        return "number or time"
    if types & {"float", "ConstrainedFloatValue"}:
        return "number"
    return "text"


def _members(annotation: Any) -> Iterator[Any]:
    members = get_args(annotation)
    if not members or get_origin(annotation) in (list, dict, Literal):
        yield annotation
    for member in members:
        yield from _members(member)


def _choices(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for member in get_args(annotation):
            yield from _choices(member)


def _first_sentence(text: str) -> str:
    """Return the first sentence of a docstring, on one line."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    sentence = paragraph.partition(". ")[0].rstrip(".")
    return f"{sentence}." if sentence else ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text_of(catalogue()), encoding="utf-8")
