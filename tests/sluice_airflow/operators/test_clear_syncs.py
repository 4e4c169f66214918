"""ClearSyncsOperator: what tries of syncs left behind goes, unless it is only asked about."""

import pytest
from cohort_config import write_cohort, write_cohort_config

from sluice.cohorts.chains import chain_of
from sluice.ledger.syncs import claim
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.operators.clear_syncs import ClearSyncsOperator

pytestmark = pytest.mark.usefixtures("airflow_connections")


def test_a_dry_run_counts_what_the_next_one_takes_away(tmp_path, monkeypatch):
    write_cohort_config(tmp_path / "config", lake=str(tmp_path / "lake"), bucket="audiences")
    sync = {"id": "recent_crm", "destination": "crm", "cadence": "hourly"}
    write_cohort(tmp_path / "config", "recent", sync)
    monkeypatch.setenv("SLUICE_CONFIG", str(tmp_path / "config"))
    hook = SluiceHook()
    claim(hook.ledger, chain_of(hook.config.sync("recent_crm")), "a run that died", 60)
    filesystem = hook.lake.filesystem()
    folder = "_syncs/recent_crm/1000000000-1"
    filesystem.create_dir(folder)

    def cleared(dry_run):
        done = ClearSyncsOperator(task_id="clear_syncs", dry_run=dry_run).execute({})
        return done["folders"], filesystem.get_file_info(folder).type.name

    assert cleared("true") == (1, "Directory")
    assert cleared(False) == (1, "NotFound")
    assert cleared(False) == (0, "NotFound")
