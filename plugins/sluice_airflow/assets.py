"""The assets that Sluice's DAGs announce, for DAGs of other people to be scheduled on."""

from __future__ import annotations

from airflow.sdk import Asset


def events_asset(project: int) -> Asset:
    """Return the asset of a project's events, `events_<project>`.

    Its URI does not say where the lake lies: Airflow would take a lake that moved for a rival asset.
    """
    return Asset(name=f"events_{project}", uri=f"x-sluice://events/{project}")


def sync_asset(sync: str) -> Asset:
    """Return the asset of what a cohort sync has delivered, `cohort_sync_<id>`."""
    return Asset(name=f"cohort_sync_{sync}", uri=f"x-sluice://cohort-syncs/{sync}")
