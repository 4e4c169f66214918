"""Where the lake lies, and how its files are kept: include/config/lake.yaml."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator

from sluice.config.fields import ConnectionId, Region
from sluice.config.model import ConfigModel, setting


def _uri(value: str) -> str:
    if not value.strip() or value != value.strip():
        raise ValueError("empty, or with blanks around it")
    scheme, separator, rest = value.partition("://")
    if not separator:
        return value
    if scheme != "s3":
        raise ValueError(f"a lake cannot lie on {scheme}://")
    if "@" in rest:
        raise ValueError("credentials do not belong here: put them into the Airflow connection")
    bucket, _, path = rest.partition("/")
    if not bucket or not path.strip("/"):
        raise ValueError("needs a bucket and a folder in it")
    return f"s3://{bucket}/{path.strip('/')}"


class MaintenanceConfig(ConfigModel):
    """How the lake's files are kept: how large they become, and how long what nobody needs stays."""

    target_file_mb: int = setting(
        128,
        allowed="megabytes, from 1 to 1024",
        meaning="The size of the data files into which the small ones of closed days are put together; a file"
        " of less than half of it is small.",
        ge=1,
        le=1024,
    )
    retention_days: int = setting(
        7,
        allowed="days, from 7 to 3650",
        meaning="How long replaced data files, files that no commit names, and staged rows of dead runs stay."
        " It must be longer than the longest run of an export or import.",
        ge=7,
        le=3650,
    )

    @property
    def target_file_bytes(self) -> int:
        """The size of a compacted data file, in bytes."""
        return self.target_file_mb << 20

    @property
    def retention(self) -> timedelta:
        """How long what nobody needs any more stays."""
        return timedelta(days=self.retention_days)


class LakeConfig(ConfigModel):
    """The folder of the lake's tables, and the connection that opens it."""

    uri: Annotated[str, AfterValidator(_uri)] = setting(
        allowed="s3://bucket/folder, or a local folder (a relative one begins at the folder of lake.yaml)",
        meaning="Where the lake's tables are. Any S3-compatible store with conditional puts will do.",
    )
    connection: ConnectionId = setting(
        "sluice_lake",
        allowed="the id of an Airflow connection",
        meaning="Airflow connection (type aws) with credentials and endpoint; unused for a local folder.",
    )
    region: Region | None = setting(
        None,
        allowed="an AWS region such as us-east-1, or null",
        default_text="the connection's region",
        meaning="The region of the lake's bucket.",
    )
    maintenance: MaintenanceConfig = setting(
        MaintenanceConfig(),
        allowed="the keys of `maintenance` below",
        default_text="the defaults below",
        meaning="How the DAG `lake_maintenance` keeps the lake's files.",
    )

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return not self.uri.startswith("s3://")
