from pathlib import Path

import pytest

from sluice.config.expectation_page import with_expectations
from sluice.config.expectations import catalogue

DOCUMENT = Path(__file__).parents[3] / "docs" / "quality-expectations.md"


def test_the_page_has_every_expectation_as_the_catalogue_has_it():
    """If this fails: python -m sluice.config.expectation_page docs/quality-expectations.md."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_expectations(text) == text
    for name, entry in catalogue().items():
        assert f"`{name}`" in text
        assert all(f"\n| `{argument}` |" in text for argument in entry.get("arguments", ()))


def test_missing_marks_are_an_error():
    with pytest.raises(ValueError, match="places for the expectations"):
        with_expectations("no places at all")
