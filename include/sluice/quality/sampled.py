"""Expectations that are looked at row by row, over a sample: the only place that imports Great Expectations.

Its import takes seconds and 270 MB, so it is imported only when a suite asks for it.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from sluice.quality.results import MAX_VALUE_LENGTH, MAX_VALUES, Expectation, Result, enough
from sluice.quality.sample import GROUP

if TYPE_CHECKING:
    import pandas as pd

# Messages that quote arguments, and no values.
_ABOUT_THE_SUITE = ("Invalid regular expression", "Values passed to")

# In Python true is an int. In JSON it is no number, so these look at a column in which it is none.
_ABOUT_TYPES = ("expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list")
_TRUE_IS_NO_NUMBER = "$true is no number: "

# What they say of a row depends on that row alone, so that one look at all rows answers for each group.
_ABOUT_ONE_ROW = (
    "expect_column_values_to_match_",
    "expect_column_values_to_not_match_",
    "expect_column_values_to_be_dateutil_parseable",
    "expect_column_values_to_be_json_parseable",
    *_ABOUT_TYPES,
)


def evaluate_sampled(
    expectations: Sequence[Expectation], frame: pd.DataFrame, *, show_values: bool = False
) -> dict[Hashable, list[Result]]:
    """Evaluate over the rows of a frame; a list of results for each value of its column `$group`.

    Without that column all is one group, None.
    """
    if GROUP not in frame:
        return {None: _validated(expectations, frame, show_values)}
    keys: list[Hashable] = frame[GROUP].tolist()
    whole = frame.drop(columns=GROUP).reset_index(drop=True)
    together = [each for each in expectations if each.type.startswith(_ABOUT_ONE_ROW)]
    apart = [each for each in expectations if not each.type.startswith(_ABOUT_ONE_ROW)]
    every: dict[Hashable, dict[int, Result]] = {key: {} for key in keys}
    for expectation, found in zip(together, _validate(together, whole, show_values), strict=True):
        for key, result in _by_group(expectation, found, whole, keys, show_values).items():
            every[key][id(expectation)] = result
    for key, results in every.items():
        rows = whole[[each == key for each in keys]] if apart else whole
        results |= zip(map(id, apart), _validated(apart, rows, show_values), strict=True)
    return {key: [results[id(each)] for each in expectations] for key, results in every.items()}


def _by_group(
    expectation: Expectation,
    found: Mapping[str, Any] | str,
    frame: pd.DataFrame,
    keys: Sequence[Hashable],
    show_values: bool,
) -> dict[Hashable, Result]:
    """Tell the groups apart by the rows that failed when all were looked at."""
    failed = None if isinstance(found, str) else found["result"].get("unexpected_index_list")
    if failed is None:
        # It was not asked of the rows: of a column's type, or it raised.
        return dict.fromkeys(keys, _result(expectation, found, show_values))
    column = frame[expectation.kwargs["column"]]
    considered = Counter(key for key, there in zip(keys, column.notnull(), strict=True) if there)
    unexpected: dict[Hashable, list[int]] = {key: [] for key in keys}
    for place in failed:
        unexpected[keys[place]].append(place)
    return {
        key: Result(
            expectation,
            enough(expectation.kwargs, considered[key], len(places)),
            "sample",
            checked=considered[key],
            unexpected=len(places),
            values=_texts(column.iloc[places[:MAX_VALUES]]) if show_values else (),
        )
        for key, places in unexpected.items()
    }


def _validated(expectations: Sequence[Expectation], frame: pd.DataFrame, show_values: bool) -> list[Result]:
    found = _validate(expectations, frame, show_values)
    return [_result(*pair, show_values) for pair in zip(expectations, found, strict=True)]


def _validate(
    expectations: Sequence[Expectation], frame: pd.DataFrame, show_values: bool
) -> list[dict[str, Any] | str]:
    """Return what Great Expectations says of each expectation, or why it does not take it."""
    if not expectations:
        return []
    for name in ("great_expectations", "great_expectations.data_context.types.base"):
        # They tell of each of its functions, and of a folder for pages that nobody makes.
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Of pandas and marshmallow, about what Great Expectations does with them.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", "This pattern is interpreted as a regular expression")
        import great_expectations as gx
        from great_expectations.expectations.registry import get_expectation_impl

        answers: list[dict[str, Any] | str] = []
        suite = gx.ExpectationSuite(name="suite")
        for place, expectation in enumerate(expectations):
            try:
                implementation: Any = get_expectation_impl(expectation.type)
                kwargs = dict(expectation.kwargs)
                if _asks_for_types_but_bool(expectation):
                    column = frame[kwargs["column"]]
                    kwargs["column"] = f"{_TRUE_IS_NO_NUMBER}{kwargs['column']}"
                    frame = frame.assign(**{kwargs["column"]: _apart(column)})
                asked = implementation(**kwargs, meta={"place": place})
            except Exception as error:
                answers.append(f"Great Expectations does not take it: {_first_line(error)}")
            else:
                answers.append({})
                suite.expectations.append(asked)
        batch = _frames().get_batch({"dataframe": frame})
        form = {
            "result_format": "COMPLETE",
            "partial_unexpected_count": MAX_VALUES if show_values else 0,
            "exclude_unexpected_values": not show_values,
        }
        for result in batch.validate(suite, result_format=form).results:
            configuration: Any = result.expectation_config
            answers[configuration.meta["place"]] = {
                "success": bool(result.success),
                "result": dict(result.result),
                "exception": _exception(result.exception_info),
            }
    return answers


def _asks_for_types_but_bool(expectation: Expectation) -> bool:
    types = [expectation.kwargs.get("type_"), *(expectation.kwargs.get("type_list") or ())]
    return expectation.type in _ABOUT_TYPES and "bool" not in types


def _apart(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column whose true and false are NumPy's: of no type that can be asked for, and said alike."""
    import numpy as np
    import pandas as pd

    if column.dtype != object:
        # Times, which are a column's own type.
        return column
    values = [np.bool_(value) if isinstance(value, bool) else value for value in column]
    return pd.Series(values, column.index, dtype=object)


@cache
def _frames() -> Any:
    """Return what makes batches of frames, in a context of this process's own that keeps nothing."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("rows")


def _exception(info: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return what was raised: one exception's facts, or one for each number that was to be computed."""
    if not info:
        return None
    if "raised_exception" in info:
        return info if info["raised_exception"] else None
    return next((one for one in info.values() if one and one.get("raised_exception")), None)


def _result(expectation: Expectation, found: Mapping[str, Any] | str, show_values: bool) -> Result:
    if isinstance(found, str):
        return Result(expectation, False, "sample", error=found)
    if found["exception"]:
        reason = _reason(expectation, found["exception"], show_values)
        return Result(expectation, False, "sample", error=reason)
    facts = found["result"]
    about_rows = "element_count" in facts
    return Result(
        expectation,
        found["success"],
        "sample",
        checked=int(facts["element_count"]) - int(facts.get("missing_count") or 0) if about_rows else 0,
        unexpected=facts["unexpected_count"] if about_rows else None,
        observed=_observed(facts, show_values),
        values=_texts(facts.get("partial_unexpected_list") or ()) if show_values else (),
    )


def _observed(facts: Mapping[str, Any], show_values: bool) -> str | None:
    """Say what was observed; it may be a value of a row, or many of them."""
    if "element_count" not in facts and ("unexpected_count" in facts or "missing_count" in facts):
        words = {"unexpected_count": "distinct values outside the set", "missing_count": "of the set missing"}
        return ", ".join(f"{facts[name]} {said}" for name, said in words.items() if name in facts)
    observed = facts.get("observed_value")
    return _text(observed) if show_values and observed is not None else None


def _reason(expectation: Expectation, exception: Mapping[str, Any], show_values: bool) -> str:
    """Say what was raised; a message that may quote a row's value only if the suite shows values."""
    for pattern in (expectation.kwargs.get("regex"), *(expectation.kwargs.get("regex_list") or ())):
        try:
            re.compile(pattern or "")
        except re.error as error:
            return f"{pattern!r} is no regular expression: {error}"
    message = _first_line(exception.get("exception_message", ""))
    if show_values or message.startswith(_ABOUT_THE_SUITE):
        return f"Great Expectations says: {message}"
    return (
        "Great Expectations cannot ask it of these values; show_values: true shows its message, which may"
        " quote one"
    )


def _first_line(error: object) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:3])


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_text(value) for value in list(values)[:MAX_VALUES]))


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 1]}…"
