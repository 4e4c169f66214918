"""Where the lake lies: include/config/lake.yaml."""

from __future__ import annotations

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

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return not self.uri.startswith("s3://")
