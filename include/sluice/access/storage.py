"""One S3-compatible store as a set of credentials and an endpoint: for boto3 and for the lake alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from sluice import __version__
from sluice.errors import SluiceError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Standard mode backs off exponentially with jitter on throttling (503 SlowDown), resets and 5xx answers.
# Path addressing: a local store has no wildcard DNS. Checksums only where the operation demands one:
# older S3-compatible stores refuse the CRC trailers that are boto3's default. The user agent tells a bucket's
# owner who was there; botocore composes its own anew, twice for each request, a tenth of what one costs.
_CLIENT_CONFIG = Config(
    user_agent=f"sluice/{__version__}",
    retries={"mode": "standard", "max_attempts": 8},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    connect_timeout=10,
    read_timeout=60,
    max_pool_connections=16,
)
_PATH_STYLE = Config(s3={"addressing_style": "path"})


@dataclass(frozen=True)
class S3Store:
    """Access to the buckets of one S3-compatible store.

    `session` owns the credentials and renews those that expire; `endpoint_url` is None for AWS itself.
    """

    session: boto3.Session = field(repr=False)
    endpoint_url: str | None = None
    region: str = "us-east-1"

    @classmethod
    def of(
        cls,
        *,
        access_key: str | None = None,
        secret_key: str | None = None,
        session_token: str | None = None,
        endpoint_url: str | None = None,
        region: str | None = None,
    ) -> S3Store:
        """Build a store from plain facts; without keys, boto3's own chain finds the credentials."""
        session = boto3.Session(
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=session_token,
            region_name=region,
        )
        return cls(session, endpoint_url, region or session.region_name or "us-east-1")

    def client(self) -> S3Client:
        """Return a boto3 S3 client of this store."""
        config = _CLIENT_CONFIG.merge(_PATH_STYLE) if self.endpoint_url else _CLIENT_CONFIG
        return self.session.client(
            "s3", endpoint_url=self.endpoint_url, region_name=self.region, config=config
        )

    def delta_options(self) -> dict[str, str]:
        """Return the storage options with which deltalake opens a table on this store.

        Commits lean on conditional puts (`aws_conditional_put`): the log's next file is created only if it
        is not there. Raises SluiceError when the session has no credentials.
        """
        credentials: Any = self.session.get_credentials()
        if credentials is None:
            raise SluiceError(
                "No AWS credentials were found for the lake's store: set them in the Airflow connection that"
                " include/config/lake.yaml names, or in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        frozen = credentials.get_frozen_credentials()
        options = {
            "AWS_ACCESS_KEY_ID": frozen.access_key,
            "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
            "AWS_REGION": self.region,
            "aws_conditional_put": "etag",
        }
        if frozen.token:
            options["AWS_SESSION_TOKEN"] = frozen.token
        if self.endpoint_url:
            options["AWS_ENDPOINT_URL"] = self.endpoint_url
            options["AWS_ALLOW_HTTP"] = "true"
        return options
