"""What the steps of the lake's maintenance share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator

from sluice_airflow.flags import flag


class MaintenanceStep(BaseOperator):
    """One step; with `dry_run` it only says what it would do.

    :param dry_run: only say what would be done (templated)
    """

    template_fields: Sequence[str] = ("dry_run",)

    def __init__(self, *, dry_run: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dry_run = dry_run

    @property
    def is_dry(self) -> bool:
        """What the rendered `dry_run` says."""
        return flag("dry_run", self.dry_run)
