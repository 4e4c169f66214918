from __future__ import annotations

from sluice.config.quality import QualityConfig
from sluice.quality.counts import LIKE_WEEKS_BEFORE
from sluice.quality.results import Expectation
from sluice.quality.suites import suite

NOT_NULL = "expect_column_values_to_not_be_null"
BUILT_IN = [
    Expectation(NOT_NULL, {"column": "uuid"}),
    Expectation(NOT_NULL, {"column": "user_id"}),
    Expectation("expect_compound_columns_to_be_unique", {"column_list": ["a", "b"]}),
    Expectation(LIKE_WEEKS_BEFORE, severity="warning"),
]


def _settings(*expectations: dict[str, object]) -> QualityConfig:
    return QualityConfig.model_validate({"expectations": list(expectations)})


def test_a_gate_without_configuration_has_what_every_gate_has() -> None:
    assert suite(BUILT_IN, QualityConfig()) == BUILT_IN


def test_one_about_the_same_column_takes_the_place_of_a_built_in_one() -> None:
    kwargs = {"column": "user_id", "mostly": 0.9}
    found = suite(
        BUILT_IN, _settings({"type": NOT_NULL, "kwargs": kwargs, "severity": "warning", "notes": "why"})
    )
    mine = Expectation(NOT_NULL, kwargs, "warning", "why", configured=True)
    assert found == [BUILT_IN[0], *BUILT_IN[2:], mine]


def test_one_about_another_column_stands_beside_it() -> None:
    columns = {"column_list": ["a", "c"]}
    found = suite(BUILT_IN, _settings({"type": "expect_compound_columns_to_be_unique", "kwargs": columns}))
    assert found[: len(BUILT_IN)] == BUILT_IN
    assert found[-1].kwargs == columns


def test_of_our_own_the_type_decides() -> None:
    found = suite(BUILT_IN, _settings({"type": LIKE_WEEKS_BEFORE, "kwargs": {"weeks": 8}}))
    assert [each.kwargs for each in found if each.type == LIKE_WEEKS_BEFORE] == [{"weeks": 8}]
