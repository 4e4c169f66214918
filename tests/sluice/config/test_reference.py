from pathlib import Path

import pytest

from sluice.config.reference import MODELS, with_tables

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_reference_has_every_key_as_the_models_have_it():
    """If this fails: python -m sluice.config.reference docs/configuration.md."""
    text = DOCUMENT.read_text()
    assert with_tables(text) == text
    for model in MODELS.values():
        for key, info in model.model_fields.items():
            assert f"\n| `{info.alias or key}` |" in text


def test_a_missing_place_is_an_error():
    with pytest.raises(ValueError, match="keys of organisations"):
        with_tables("no places at all")
