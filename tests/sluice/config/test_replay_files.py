"""Which files a replay takes when nobody says otherwise."""

import pytest

from sluice.config.load import REPLAY_FILES
from sluice.converter import Converter


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        ("187520/187520_2020-01-25_17#0.json.gz", True),
        ("out/187520/187520_2020-01-25_7#12.json.gz", True),
        ("187520_2020-01-25_17#1.json.gz", True),
        ("of/one/day.json.gz", True),
        # The complete marker, empty or not.
        ("187520/187520_2020-01-25_17_complete", False),
        # Merged Amplitude IDs, in both of their forms (amplitude-spec 1.2).
        ("-189524/-189524_2020-01-25_17.json.gz", False),
        ("187520/187520_2020-01-25_17.json.gz", False),
        ("187520/", False),
        ("187520/events.json", False),
    ],
)
def test_export_files_are_taken_and_nothing_beside_them(key: str, taken: bool) -> None:
    assert Converter.from_file(REPLAY_FILES).matches(key) is taken
