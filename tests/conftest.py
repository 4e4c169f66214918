"""Real local services for the whole suite, each started when the first test asks for it.

Every fixture that needs a server marks its tests `integration`. Airflow's environment is set here,
before any test module is collected, because Airflow reads it when it is imported.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from sluice.access.storage import S3Store
from sluice.ledger import Ledger
from sluice.local.airflow_settings import connection_settings
from sluice.local.environment import clean_environment
from sluice.local.moto import Moto
from sluice.local.postgres import Postgres, sqlalchemy_url
from sluice.local.seaweedfs import S3Access, SeaweedFS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REPOSITORY = Path(__file__).resolve().parents[1]
SERVICE_FIXTURES = {"seaweedfs", "s3_access", "s3_endpoint", "s3", "bucket", "moto", "moto_endpoint"}
SERVICE_FIXTURES |= {"postgres", "stack_services", "airflow_connections", "airflow_db"}

# One folder for all servers of this session. Its path is known before any server runs, and so is
# the URL of the metadata database: modules that import Airflow while they are collected need it.
DATA = Path(tempfile.mkdtemp(prefix="sluice-tests-"))
atexit.register(shutil.rmtree, DATA, ignore_errors=True)

AIRFLOW_ENVIRONMENT = {
    "AIRFLOW_HOME": str(DATA / "airflow"),
    "SLUICE_CACHE": str(DATA / "cache"),
    "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__FERNET_KEY": "c2x1aWNlLXRlc3RzLW9ubHktbm90LWEtc2VjcmV0ISE=",
    "AIRFLOW__API_AUTH__JWT_SECRET": "sluice tests only: this is no secret at all, but it is long enough",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": sqlalchemy_url(DATA, "airflow"),
    # No test may reach a real account, nor wait for a machine's credentials service.
    "AWS_EC2_METADATA_DISABLED": "true",
}


def _set_environment() -> None:
    clean = clean_environment(AIRFLOW_ENVIRONMENT)
    for key in os.environ.keys() - clean.keys():
        del os.environ[key]
    os.environ.update(clean)


_set_environment()


# No test fails for the time that an example takes: the machine may be busy. `.ci/run` takes the profile "ci"
# instead, which draws the same examples each time.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


def pytest_collection_finish() -> None:
    """Let the garbage collector pass by what is imported by now, and come more rarely."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a service."""
    for item in items:
        if SERVICE_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    """A running SeaweedFS."""
    server = SeaweedFS(DATA)
    server.grace_seconds = 0  # its data is thrown away
    with server:
        yield server


@pytest.fixture(scope="session")
def s3_access(seaweedfs: SeaweedFS) -> S3Access:
    """Endpoint, keys and region of the S3 server."""
    return seaweedfs.access


@pytest.fixture(scope="session")
def s3_store(s3_access: S3Access) -> S3Store:
    """The S3 server, as the library opens it."""
    return S3Store.of(
        access_key=s3_access.access_key,
        secret_key=s3_access.secret_key,
        endpoint_url=s3_access.endpoint_url,
        region=s3_access.region,
    )


@pytest.fixture(scope="session")
def s3_endpoint(s3_access: S3Access) -> str:
    """The S3 server's URL."""
    return s3_access.endpoint_url


@pytest.fixture(scope="session")
def s3(s3_access: S3Access) -> S3Client:
    """A boto3 client for the S3 server."""
    # botocore composes its own name anew for each request, a tenth of what one costs.
    return s3_access.client(user_agent="sluice-tests")


@pytest.fixture
def bucket(s3: S3Client) -> Iterator[str]:
    """A fresh bucket, gone after the test."""
    name = f"test-{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=name)
    yield name
    _empty(s3, name)
    s3.delete_bucket(Bucket=name)


def _empty(s3: S3Client, bucket: str) -> None:
    for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for listing, kinds in (
        ("list_object_versions", ("Versions", "DeleteMarkers")),
        ("list_objects_v2", ("Contents",)),
    ):
        for page in s3.get_paginator(listing).paginate(Bucket=bucket):
            entries = [entry for kind in kinds for entry in page.get(kind, [])]
            if entries:
                # One request for a page: one for each object took a fifth of a second of every test.
                names = [
                    {name: entry[name] for name in ("Key", "VersionId") if name in entry} for entry in entries
                ]
                s3.delete_objects(Bucket=bucket, Delete={"Objects": names, "Quiet": True})


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """A running stand-in for the AWS services other than S3."""
    with Moto(DATA) as server:
        yield server


@pytest.fixture(scope="session")
def moto_endpoint(moto: Moto) -> str:
    """The stand-in's URL, the same for all services."""
    return moto.endpoint


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL server."""
    with Postgres(DATA, durable=False) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh database, gone after the test."""
    name = f"test_{uuid.uuid4().hex}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def ledger_template(postgres: Postgres) -> str:
    """The name of a database with an empty ledger, to be copied: the migrations run once."""
    name = "ledger_template"
    Ledger.open(postgres.create_database(name))
    return name


@pytest.fixture
def postgres_ledger_url(postgres: Postgres, ledger_template: str) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh ledger, gone after the test."""
    name = f"test_{uuid.uuid4().hex}"
    yield postgres.create_database(name, ledger_template)
    postgres.drop_database(name)


@dataclass(frozen=True)
class StackServices:
    """All local services but Airflow, and the connections with which Airflow reaches them."""

    s3: S3Access
    aws_endpoint: str
    ledger_url: str
    connections: dict[str, str]


@pytest.fixture
def stack_services(s3_access: S3Access, moto_endpoint: str, postgres_ledger_url: str) -> StackServices:
    """S3, the AWS stand-in and a fresh ledger."""
    connections = connection_settings(s3_access, moto_endpoint, postgres_ledger_url)
    return StackServices(s3_access, moto_endpoint, postgres_ledger_url, connections)


@pytest.fixture
def airflow_connections(stack_services: StackServices, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Airflow's connections to the services, set in this process for one test."""
    for name, value in stack_services.connections.items():
        monkeypatch.setenv(name, value)
    return stack_services.connections


@pytest.fixture(scope="session")
def airflow_db(postgres: Postgres) -> str:
    """A migrated metadata database, which Airflow in this process uses; its URL."""
    # In this process, where Airflow is imported anyway: `airflow db migrate` imports it once more.
    from airflow.utils.db import upgradedb

    url = postgres.create_database("airflow")
    upgradedb()
    return url
