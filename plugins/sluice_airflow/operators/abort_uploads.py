"""A step of maintenance: uploads that dead export runs left open are aborted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.maintenance_step import MaintenanceStep

if TYPE_CHECKING:
    from airflow.sdk import Context


class AbortUploadsOperator(MaintenanceStep):
    """Aborts uploads of all destinations that are older than a day and whose hour nobody holds.

    What a quality gate holds stays until somebody decides, or until its time is over: then it goes as well.
    Returns how many of each destination. A destination that cannot be reached is logged and does not stop
    the others: its own runs report it. The gates of destinations that are gone end as well.
    """

    def execute(self, context: Context) -> dict[str, int]:
        from airflow.sdk.exceptions import AirflowException

        from sluice.errors import SluiceError
        from sluice.exports.bucket import Bucket
        from sluice.exports.gate import expire_held
        from sluice.exports.left_open import abort_left_open
        from sluice.exports.removed import expire_of_removed
        from sluice.exports.samples import remove_left_samples

        hook = SluiceHook()
        aborted = {}
        for config in hook.config.exports:
            try:
                bucket = Bucket.of(hook.store(config.connection, config.region).client(), config)
                if not self.is_dry:
                    expire_held(config, lake=hook.lake, ledger=hook.ledger, bucket=bucket)
                    remove_left_samples(hook.lake, hook.ledger, config.id)
                aborted[config.id] = abort_left_open(config, hook.ledger, bucket, dry_run=self.is_dry)
            except (SluiceError, AirflowException) as error:
                self.log.warning("%s: %s", config.id, error)
        if not self.is_dry:
            expire_of_removed(hook.lake, hook.ledger, [config.id for config in hook.config.exports])
        return aborted
