"""Where the lake lies: its tables on S3 or on a local path, and the filesystem below them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from sluice.errors import SluiceError
from sluice.lake.data_files import BOUNDED_COLUMNS
from sluice.lake.schema import DEVICES, DUPLICATES, EVENTS, REJECTS, USERS

# In the order in which they are created, and in which a load commits to them; `events` last of all (ADR 1).
SCHEMAS = {
    "users": USERS,
    "devices": DEVICES,
    "rejects": REJECTS,
    "duplicates": DUPLICATES,
    "events": EVENTS,
}
SIDE_TABLES = ("users", "devices", "rejects", "duplicates")
# Side tables are partitioned by project only: they are read by key, not by time.
_PARTITIONS = {name: ["app"] for name in SIDE_TABLES} | {"events": ["app", "upload_date"]}

_PROPERTIES: dict[str, str | None] = {
    # A commit's metadata must outlive checkpoints: the ledger is a projection of it (ADR 1).
    "delta.enableExpiredLogCleanup": "false",
    "delta.checkpointInterval": "50",
}


def _properties(schema: pa.Schema) -> dict[str, str | None]:
    # By default the first 32 columns have bounds in the log, and the ones that matter are not among them.
    bounded = [name for name in BOUNDED_COLUMNS if name in schema.names]
    return _PROPERTIES | {"delta.dataSkippingStatsColumns": ",".join(bounded)}


class LakeError(SluiceError):
    """The lake cannot be used as it is."""


class Lake:
    """The lake at one URI: `s3://bucket/path` with deltalake's storage options, or a local path."""

    def __init__(self, uri: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.uri = uri.rstrip("/")
        self.storage_options = dict(storage_options or {})

    def __repr__(self) -> str:
        return f"Lake({self.uri!r})"

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return "://" not in self.uri

    def exists(self) -> bool:
        """Whether the lake's tables have been created."""
        return self._has("events")

    def create(self) -> None:
        """Create the tables that are not there yet; several processes may do so at once."""
        if self.is_local:
            Path(self.uri).mkdir(parents=True, exist_ok=True)
        for name in SCHEMAS:
            if not self._has(name):
                self._create_table(name)

    def _create_table(self, name: str) -> None:
        try:
            DeltaTable.create(
                self._table_uri(name),
                schema=SCHEMAS[name],
                mode="ignore",
                partition_by=_PARTITIONS[name],
                configuration=_properties(SCHEMAS[name]),
                storage_options=self.storage_options,
            )
        except CommitFailedError:
            # `ignore` looks before it commits: another process may create the table in between.
            if not self._has(name):
                raise

    def table(self, name: str, version: int | None = None) -> DeltaTable:
        """Open a table, at its newest version by default. Raises LakeError if the lake was never created."""
        try:
            return DeltaTable(self._table_uri(name), version, self.storage_options)
        except TableNotFoundError as error:
            raise LakeError(
                f"There is no table {name!r} at {self.uri}: check `uri` in include/config/lake.yaml."
                " The first import creates the lake's tables."
            ) from error

    def events(self, version: int | None = None) -> DeltaTable:
        """Open the events table, at its newest version by default."""
        return self.table("events", version)

    @cached_property
    def _root(self) -> pafs.FileSystem:
        if self.is_local:
            return pafs.SubTreeFileSystem(str(Path(self.uri).absolute()), pafs.LocalFileSystem())
        options = self.storage_options
        endpoint = urlsplit(options.get("AWS_ENDPOINT_URL", ""))
        s3 = pafs.S3FileSystem(
            access_key=options.get("AWS_ACCESS_KEY_ID"),
            secret_key=options.get("AWS_SECRET_ACCESS_KEY"),
            session_token=options.get("AWS_SESSION_TOKEN"),
            region=options.get("AWS_REGION"),
            endpoint_override=endpoint.netloc or None,
            scheme=endpoint.scheme or "https",
            # A small object is one PUT instead of the three requests of a multipart upload.
            allow_delayed_open=True,
        )
        return pafs.SubTreeFileSystem(self.uri.removeprefix("s3://"), s3)

    def filesystem(self) -> pafs.FileSystem:
        """Return a filesystem rooted at the lake's URI: tables by name, staging below `_staging/`."""
        return self._root

    def table_filesystem(self, name: str) -> pafs.FileSystem:
        """Return a filesystem rooted at one table, for its data files."""
        return pafs.SubTreeFileSystem(name, self._root)

    def _has(self, name: str) -> bool:
        return DeltaTable.is_deltatable(self._table_uri(name), self.storage_options)

    def _table_uri(self, name: str) -> str:
        return f"{self.uri}/{name}"
