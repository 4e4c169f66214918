"""Connections for programs outside of Airflow, from the environment variables that Airflow reads as well.

The ledger: SLUICE_LEDGER_URL, else AIRFLOW_CONN_SLUICE_LEDGER. A store: AIRFLOW_CONN_<ID>, else boto3's own
chain (variables, profile, instance role). Only the JSON form of a connection is read. No message quotes a
value, as any may hold a secret.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from sluice.access.queues import SqsQueue
from sluice.access.storage import S3Store
from sluice.access.streams import KinesisStream
from sluice.config import Config, load_config
from sluice.errors import SluiceError, TransientError
from sluice.lake import Lake
from sluice.ledger import Ledger
from sluice.ledger.database import HEAD
from sluice.ledger.url import connection_url

LEDGER_URL = "SLUICE_LEDGER_URL"
LEDGER_CONNECTION = "sluice_ledger"

# Ways to credentials that a connection may name and that only Airflow goes.
_AIRFLOW_ONLY = ("role_arn", "profile_name", "assume_role_method")


@dataclass(frozen=True)
class EnvironmentAccess:
    """Opens the configuration, the lake, the ledger and the stores as the environment says.

    `ledger_url` goes before the environment. The lake and the ledger must be there: nothing is created, but
    the ledger's tables with `makes_ledger`.
    """

    directory: Path | None = None
    ledger_url: str | URL | None = field(default=None, repr=False)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    makes_ledger: bool = False

    @cached_property
    def config(self) -> Config:
        """The configuration as it is on disk now."""
        return load_config(self.directory)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, as it is. Raises SluiceError if none is named, or if it has no tables yet.

        With `makes_ledger` they are made, or brought up to date, as the first task of a run would.
        """
        try:
            url = make_url(self.ledger_url or ledger_url(self.environ))
        except ArgumentError:
            raise SluiceError("The ledger's URL is none that SQLAlchemy reads.") from None
        if self.makes_ledger:
            return Ledger.open(url)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            raise SluiceError(f"There is no ledger at {url.database}: the first run of a DAG makes it.")
        ledger = Ledger.open(url, migrate=False)
        revision = ledger.revision()
        if revision is None:
            raise SluiceError("The ledger has no tables yet: the first run of a DAG makes them.")
        if revision != HEAD:
            raise SluiceError(
                f"The ledger's tables are at {revision}, those of this version of Sluice at {HEAD}: the next"
                " run of a DAG brings older ones up to date, newer ones need the version that made them."
            )
        return ledger

    @cached_property
    def lake(self) -> Lake:
        """The lake that lake.yaml names."""
        where = self.config.lake
        if where.is_local:
            return Lake(where.uri)
        return Lake(where.uri, self.store(where.connection, where.region).delta_options())

    def store(self, connection_id: str, region: str | None = None) -> S3Store:
        """Return the store that a connection opens; see `store`."""
        return store(self.environ, connection_id, region)

    def queue(self, connection_id: str, url: str, region: str) -> SqsQueue:
        """Return a queue with what a connection opens it; see `store`."""
        reach = S3Store.of(**_reach(self.environ, connection_id, "sqs", region))
        return SqsQueue(url, region, reach.session, reach.endpoint_url)

    def stream(self, connection_id: str, name: str, region: str | None = None) -> KinesisStream:
        """Return a Kinesis stream with what a connection opens it; see `store`."""
        reach = S3Store.of(**_reach(self.environ, connection_id, "kinesis", region))
        return KinesisStream(name, reach.region, reach.session, reach.endpoint_url)

    def database(self, connection_id: str) -> Any:
        """Return a DB-API connection to the PostgreSQL database of a connection.

        Raises SluiceError for a connection without a variable, or of another type: only Airflow has its
        driver; TransientError if the database does not let us in.
        """
        facts = _connection(self.environ, connection_id)
        if facts is None or facts.get("conn_type") not in ("postgres", "postgresql"):
            found = "is not set" if facts is None else f"is of type {facts.get('conn_type')!r}"
            raise SluiceError(
                f"{_variable(connection_id)} {found}: a query is previewed on a PostgreSQL connection that is"
                " set there as JSON. What runs on any other, a run of the DAG cohort_sync_once shows."
            )
        import psycopg2  # type: ignore[import-untyped]

        try:
            return psycopg2.connect(
                host=facts.get("host"),
                port=facts.get("port"),
                user=facts.get("login"),
                password=facts.get("password"),
                dbname=facts.get("schema"),
            )
        except psycopg2.OperationalError as error:
            raise TransientError(
                f"The database of {_variable(connection_id)} cannot be opened: {str(error).strip()}"
            ) from error


def ledger_url(environ: Mapping[str, str]) -> str | URL:
    """Return the ledger's SQLAlchemy URL. Raises SluiceError if none of the variables names it."""
    if url := environ.get(LEDGER_URL):
        return url
    facts = _connection(environ, LEDGER_CONNECTION)
    if facts is None:
        raise SluiceError(
            f"No ledger is named: set {LEDGER_URL} (or --ledger) to its SQLAlchemy URL, or"
            f" {_variable(LEDGER_CONNECTION)} to Airflow's connection as JSON."
        )
    return connection_url(
        _variable(LEDGER_CONNECTION),
        facts.get("conn_type"),
        **{part: facts.get(part) for part in ("host", "login", "password", "port", "schema")},
    )


def store(environ: Mapping[str, str], connection_id: str, region: str | None = None) -> S3Store:
    """Return the store that a connection opens; without its variable, boto3's own chain decides.

    Raises SluiceError for a connection whose credentials only Airflow can get, such as those of a role.
    """
    return S3Store.of(**_reach(environ, connection_id, "s3", region))


def _reach(
    environ: Mapping[str, str], connection_id: str, service: str, region: str | None
) -> dict[str, str | None]:
    """Return credentials, region and a service's endpoint of a connection, as `S3Store.of` takes them."""
    facts = _connection(environ, connection_id)
    if facts is None:
        return {"region": region}
    extra = _extra(facts, connection_id)
    for name in _AIRFLOW_ONLY:
        if extra.get(name):
            raise SluiceError(
                f"The connection {connection_id} uses {name}, which only Airflow follows: take on that"
                f" identity in this shell (aws sts assume-role, or AWS_PROFILE), and unset"
                f" {_variable(connection_id)}."
            )
    services = extra.get("service_config")
    settings = services.get(service) if isinstance(services, dict) else None
    return {
        "access_key": facts.get("login") or extra.get("aws_access_key_id"),
        "secret_key": facts.get("password") or extra.get("aws_secret_access_key"),
        "session_token": extra.get("aws_session_token"),
        "endpoint_url": (settings or {}).get("endpoint_url") or extra.get("endpoint_url"),
        "region": region or extra.get("region_name"),
    }


def _variable(connection_id: str) -> str:
    return f"AIRFLOW_CONN_{connection_id.upper()}"


def _connection(environ: Mapping[str, str], connection_id: str) -> dict[str, Any] | None:
    text = environ.get(_variable(connection_id))
    return _object(text, _variable(connection_id)) if text else None


def _extra(facts: Mapping[str, Any], connection_id: str) -> dict[str, Any]:
    # Airflow takes it as an object or as JSON text.
    extra = facts.get("extra") or {}
    return extra if isinstance(extra, dict) else _object(extra, f"`extra` of {_variable(connection_id)}")


def _object(text: object, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise SluiceError(f"{name} is no JSON object: outside of Airflow, connections are read as JSON only.")
    return value
