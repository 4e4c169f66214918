"""What operators work with: the configuration, the lake, the ledger and the customers' stores."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, conf

from sluice.config import load_config
from sluice.errors import SluiceError

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    from sluice.access.queues import SqsQueue
    from sluice.access.storage import S3Store
    from sluice.access.streams import KinesisStream
    from sluice.config import Config
    from sluice.lake import Lake
    from sluice.ledger import Ledger

LEDGER_CONNECTION = "sluice_ledger"
# Those that run tasks on the scheduler's machine, where a file is the same for all of them.
_LOCAL_EXECUTORS = ("LocalExecutor", "sluice_airflow.executors.preloading.PreloadingLocalExecutor")


class SluiceHook(BaseHook):
    """Opens what the configuration and the Airflow connections name.

    The ledger is the connection `sluice_ledger` (type postgres, or sqlite); the lake's connection stands in
    lake.yaml, a store's in the YAML of its export or import. Secrets are read from connections only.
    """

    @cached_property
    def config(self) -> Config:
        """The configuration as it is on disk now."""
        return load_config()

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, its tables up to date.

        Raises SluiceError where it is a SQLite file and tasks may run on other machines.
        """
        from sluice.ledger import Ledger
        from sluice.ledger.url import connection_url

        connection = self.get_connection(LEDGER_CONNECTION)
        url = connection_url(
            f"The connection {LEDGER_CONNECTION}",
            connection.conn_type,
            host=connection.host,
            login=connection.login,
            password=connection.password,
            port=connection.port,
            schema=connection.schema,
        )
        ledger = Ledger.open(url)
        executor = conf.get("core", "executor")
        if ledger.is_sqlite and executor not in _LOCAL_EXECUTORS:
            raise SluiceError(
                f"The ledger is a SQLite file, which serves the LocalExecutor on one machine, not {executor}:"
                f" point the connection {LEDGER_CONNECTION} to PostgreSQL."
            )
        return ledger

    @cached_property
    def lake(self) -> Lake:
        """The lake; the first use creates its tables, if its store honours conditional puts."""
        from sluice.lake import Lake
        from sluice.lake.probe import probe_conditional_puts

        where = self.config.lake
        if where.is_local:
            lake = Lake(where.uri)
        else:
            store = self.store(where.connection, where.region)
            lake = Lake(where.uri, store.delta_options())
        if not lake.exists():
            if not lake.is_local:
                probe_conditional_puts(store.client(), where.uri.removeprefix("s3://").partition("/")[0])
            lake.create()
        return lake

    def store(self, connection_id: str, region: str | None = None) -> S3Store:
        """Return the store of an `aws` connection: its endpoint for S3, its role, its credentials.

        Lake and buckets of one connection share it: a role is assumed once.
        """
        from sluice.access.storage import S3Store

        if (connection_id, region) not in self._stores:
            hook = _aws_hook(connection_id, "s3", region)
            self._stores[connection_id, region] = S3Store(
                session=hook.get_session(region_name=region),
                endpoint_url=hook.conn_config.get_service_endpoint_url("s3"),
                region=region or hook.region_name or "us-east-1",
            )
        return self._stores[connection_id, region]

    @cached_property
    def _stores(self) -> dict[tuple[str, str | None], S3Store]:
        return {}

    def queue(self, connection_id: str, url: str, region: str) -> SqsQueue:
        """Return an SQS queue with the endpoint, the role and the credentials of an `aws` connection."""
        from sluice.access.queues import SqsQueue

        hook = _aws_hook(connection_id, "sqs", region)
        return SqsQueue(
            url=url,
            region=region,
            session=hook.get_session(region_name=region),
            endpoint_url=hook.conn_config.get_service_endpoint_url("sqs"),
        )

    def stream(self, connection_id: str, name: str, region: str | None = None) -> KinesisStream:
        """Return a Kinesis stream with the endpoint, the role and the credentials of an `aws` connection."""
        from sluice.access.streams import KinesisStream

        hook = _aws_hook(connection_id, "kinesis", region)
        return KinesisStream(
            name=name,
            region=region or hook.region_name or "us-east-1",
            session=hook.get_session(region_name=region),
            endpoint_url=hook.conn_config.get_service_endpoint_url("kinesis"),
        )


def _aws_hook(connection_id: str, service: str, region: str | None) -> AwsGenericHook[Any]:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    return AwsGenericHook(aws_conn_id=connection_id, client_type=service, region_name=region)
