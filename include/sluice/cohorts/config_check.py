"""The thorough check of cohorts, which takes the engine: queries, their columns, and files of ids."""

from __future__ import annotations

from dataclasses import replace

from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.query import check
from sluice.config import CohortConfig, Config, ConfigProblem


def with_query_problems(config: Config) -> Config:
    """Return a configuration without the cohorts whose query or file is no list of members, and why.

    Nothing of a lake is read, and nothing runs on a connection's database.
    """
    problems = [problem for cohort in config.cohorts for problem in _problems(cohort, config)]
    bad = {problem.file for problem in problems}
    return replace(
        config,
        cohorts=tuple(cohort for cohort in config.cohorts if cohort.source_file not in bad),
        syncs=tuple(sync for sync in config.syncs if sync.cohort.source_file not in bad),
        problems=(*config.problems, *problems),
    )


def _problems(cohort: CohortConfig, config: Config) -> list[ConfigProblem]:
    try:
        check(cohort, config)
    except CohortQueryError as error:
        return [cohort.problem((cohort.origin,), error.reason)]
    return []
