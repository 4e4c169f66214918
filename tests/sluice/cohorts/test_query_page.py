"""What docs/cohorts.md says of cohorts' queries is what is compiled, and runs."""

import re
from pathlib import Path

import pytest
import yaml
from cohort_events import cohort_of, config_of

from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.query import check, query_of
from sluice.cohorts.tables import EVENT_TABLE_COLUMNS
from sluice.event_columns import EVENT_COLUMNS

PAGE = (Path(__file__).parents[3] / "docs" / "cohorts.md").read_text()


def blocks(heading, language):
    section = PAGE.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_query_of_the_page_runs():
    [sql] = blocks("SQL", "sql")
    cohort = cohort_of(sql=sql, properties=["plan"])
    check(cohort, config_of(cohort))


def test_the_definition_of_the_page_compiles_to_its_query():
    [document], [sql] = blocks("Behavioural definitions", "yaml"), blocks("Behavioural definitions", "sql")
    cohort = cohort_of(**yaml.safe_load(document))
    check(cohort, config_of(cohort))
    assert query_of(cohort) == sql.strip()


def test_the_columns_that_the_page_names():
    assert set(EVENT_TABLE_COLUMNS) == {*EVENT_COLUMNS, "upload_date", "loaded_at", "seq"}
    assert "the 55\nkeys of an exported event" in PAGE
    assert len(EVENT_COLUMNS) == 55


@pytest.mark.parametrize("name", ["users", "groups", "profiles", "merged_ids"])
def test_a_table_that_does_not_exist_yet(name):
    cohort = cohort_of(sql=f"SELECT amplitude_id, user_id FROM {name}")
    with pytest.raises(CohortQueryError, match=f"there is no table {name} yet: .*; a query reads events"):
        check(cohort, config_of(cohort))
