"""What docker-compose.yaml's init job does beside the migration: the admin's password, the lake's bucket.

    python -m sluice.local.first_start

It reads ADMIN_PASSWORD and the variables that Airflow's components have, and may run at every start.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from sluice.config import load_config
from sluice.errors import SluiceError
from sluice.lake.probe import probe_conditional_puts
from sluice.local.errors import IncompleteEnvironmentError
from sluice.local.files import write_private
from sluice.local.seaweedfs import S3Access

PASSWORDS_FILE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
LAKE_CONNECTION = "AIRFLOW_CONN_SLUICE_LAKE"


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise IncompleteEnvironmentError(
            f"the variable {name} is missing; docker-compose.yaml sets it from .env"
        )
    return value


def write_admin_password(environment: Mapping[str, str]) -> None:
    """Write the password of Airflow's user `admin` where its simple auth manager looks for it."""
    passwords = {"admin": _required(environment, "ADMIN_PASSWORD")}
    write_private(Path(_required(environment, PASSWORDS_FILE)), json.dumps(passwords))


def lake_store(environment: Mapping[str, str]) -> S3Access:
    """Read from the lake's connection how its store is reached."""
    facts = json.loads(_required(environment, LAKE_CONNECTION))
    extra = facts["extra"]
    endpoint = extra["service_config"]["s3"]["endpoint_url"]
    return S3Access(endpoint, facts["login"], facts["password"], extra["region_name"])


def make_lake_bucket(environment: Mapping[str, str], uri: str) -> None:
    """Create the bucket of the lake's URI unless it is there, and refuse a store that is unfit for a lake."""
    client = lake_store(environment).client()
    bucket = uri.removeprefix("s3://").partition("/")[0]
    if bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=bucket)
    probe_conditional_puts(client, bucket)


def main() -> None:
    """Do both; an error is one line."""
    try:
        write_admin_password(os.environ)
        lake = load_config().lake
        if not lake.is_local:
            make_lake_bucket(os.environ, lake.uri)
    except SluiceError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
