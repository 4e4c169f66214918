"""The environment that the services start from: the caller's, without what would lead them astray."""

from __future__ import annotations

import os
from collections.abc import Mapping

LOOPBACK = ("127.0.0.1", "localhost")
# Without compiled bytecode each of Airflow's processes compiles Airflow anew, which takes seconds.
DROPPED = {"PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP"}
# A profile or endpoint of the caller's shell must never lead a local service to a real account,
# nor may settings of another Airflow mix with ours.
DROPPED_PREFIXES = ("AWS_", "AIRFLOW_", "_AIRFLOW", "WEED_", "PG", "MOTO_", "SLUICE_")


def clean_environment(additions: Mapping[str, str] | None = None) -> dict[str, str]:
    """Copy the caller's environment, drop what misleads, reach loopback past any proxy, add `additions`."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in DROPPED and not key.startswith(DROPPED_PREFIXES)
    }
    for key in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in environment.get(key, "").split(",") if host]
        environment[key] = ",".join([*hosts, *(host for host in LOOPBACK if host not in hosts)])
    return environment | dict(additions or {})
