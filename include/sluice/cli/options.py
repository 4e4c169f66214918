"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from sluice.access.connections import LEDGER_URL

CONFIG = click.option(
    "--config",
    "directory",
    type=click.Path(path_type=Path),
    help="The configuration's folder; SLUICE_CONFIG or include/config by default.",
)
LEDGER = click.option(
    "--ledger",
    "ledger_url",
    envvar=LEDGER_URL,
    help="SQLAlchemy URL of the ledger; AIRFLOW_CONN_SLUICE_LEDGER (JSON) by default.",
)
