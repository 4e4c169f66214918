"""Loads what a run has staged, as a DAG does: behind its quality gate."""

from __future__ import annotations

import sluice.imports.load
from sluice.imports.gate import check_load
from sluice.imports.load import Loaded
from sluice.imports.session import ImportRun
from sluice.quality.gate import stopped


def check_and_load(run: ImportRun) -> Loaded:
    """Do what check_quality and load_files do. Raises QualityStopped if the gate holds the run."""
    gate = check_load(run)
    if gate is not None and not gate.is_open:
        raise stopped(gate)
    return sluice.imports.load.load_run(run)
