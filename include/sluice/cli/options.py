"""Options that several commands share."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path

import click

from sluice.access.connections import LEDGER_URL


class Time(click.ParamType[datetime]):
    """A time, of UTC if it does not say otherwise."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, context: click.Context | None
    ) -> datetime:
        """Return what a text means, in UTC."""
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time such as 2013-01-03T14:00 (UTC)", param, context)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that has no name.
        return "somebody"


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
AT = click.option(
    "--at",
    "as_of",
    type=Time(),
    metavar="TIME",
    help="As of this time, UTC, such as 2013-01-03T14:00; now by default.",
)
BY = click.option(
    "--by", default=lambda: _user(), show_default="you", help="Who decides it; the name stays on record."
)
