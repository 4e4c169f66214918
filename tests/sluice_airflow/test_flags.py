"""Flags of a form reach an operator as they are, or as text."""

import pytest
from airflow.sdk.exceptions import AirflowFailException

from sluice_airflow.flags import flag


@pytest.mark.parametrize(
    ("value", "meaning"), [(True, True), (False, False), ("True", True), ("False", False), (" false ", False)]
)
def test_a_flag_means_what_it_says(value, meaning):
    assert flag("dry_run", value) is meaning


@pytest.mark.parametrize("value", ["", "no", "1", "None"])
def test_anything_else_is_refused(value):
    with pytest.raises(AirflowFailException, match=r"dry_run is .*: say true or false"):
        flag("dry_run", value)
