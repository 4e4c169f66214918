"""Recent date folders: every hour of the window, each folder once, none beyond."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sluice.imports.folders import recent_folders

NOW = datetime(2013, 3, 1, 0, 59, 59, tzinfo=UTC)


def test_hours_from_the_first_to_the_one_after_now() -> None:
    assert recent_folders("{yyyy}/{MM}/{dd}/{HH}/", NOW, 2) == [
        "2013/02/28/22/",
        "2013/02/28/23/",
        "2013/03/01/00/",
        "2013/03/01/01/",
    ]


def test_a_day_is_listed_once() -> None:
    assert recent_folders("dt={yyyy}-{MM}-{dd}/", NOW, 48) == [
        "dt=2013-02-27/",
        "dt=2013-02-28/",
        "dt=2013-03-01/",
    ]


@pytest.mark.parametrize("hours", [1, 48, 8784])
def test_the_window_has_no_gap(hours: int) -> None:
    assert len(recent_folders("{yyyy}{MM}{dd}{HH}/", NOW, hours)) == hours + 2
