"""Airflow connections to the local services, as the values of AIRFLOW_CONN_… variables."""

from __future__ import annotations

import json

from sqlalchemy.engine import make_url

from sluice.local.seaweedfs import S3Access

# Services that Sluice calls besides S3. The connection's root endpoint covers the others; STS and
# IAM ignore it in Airflow's hook unless they are named.
EMULATED = (
    *("cloudwatch", "events", "firehose", "iam", "kinesis", "kms", "logs", "secretsmanager"),
    *("ses", "sesv2", "sns", "sqs", "ssm", "sts"),
)


def aws_connection(s3: S3Access, aws_endpoint: str | None = None) -> str:
    """Describe an `aws` connection: S3 at one endpoint, every other service at the emulator's."""
    services = {"s3": {"endpoint_url": s3.endpoint_url}}
    if aws_endpoint is not None:
        services |= {name: {"endpoint_url": aws_endpoint} for name in EMULATED}
    extra: dict[str, object] = {
        "region_name": s3.region,
        "service_config": services,
        "config_kwargs": {"s3": {"addressing_style": "path"}},
    }
    if aws_endpoint is not None:
        extra["endpoint_url"] = aws_endpoint
    return json.dumps({"conn_type": "aws", "login": s3.access_key, "password": s3.secret_key, "extra": extra})


def ledger_connection(url: str) -> str:
    """Describe a `postgres` connection to the ledger's database, from its SQLAlchemy URL."""
    parts = make_url(url)
    host = parts.host or parts.query.get("host")
    facts: dict[str, object] = {
        "conn_type": "postgres",
        "host": host,
        "schema": parts.database,
        "login": parts.username,
    }
    if parts.password:
        facts["password"] = parts.password
    if parts.port:
        facts["port"] = parts.port
    return json.dumps(facts)
