"""What Airflow loads of Sluice by itself: the listeners. Operators come by import, from the DAG files."""

from __future__ import annotations

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from sluice_airflow.listeners import run_note


class SluicePlugin(AirflowPlugin):
    """Sluice in Airflow."""

    name = "sluice"
    listeners: ClassVar = [run_note]
