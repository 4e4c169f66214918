"""A LocalExecutor whose tasks find the large libraries already imported (ADR 17)."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Iterable

from airflow.executors.local_executor import LocalExecutor

# What tasks import of others, the slowest to import among it. Nothing of Sluice's own: changed code is in
# force with the next task.
MODULES = (
    "airflow.providers.amazon.aws.hooks.base_aws",
    "airflow.providers.amazon.aws.queues.sqs",
    "airflow.providers.common.messaging.triggers.msg_queue",
    "airflow.providers.common.sql.hooks.sql",
    "airflow.providers.standard.operators.hitl",
    "airflow.sdk.execution_time.task_runner",
    "boto3.s3.inject",
    "botocore.session",
    "deltalake.fs",
    "duckdb",
    "great_expectations",
    "great_expectations.expectations.core",
    "isal.igzip_lib",
    "jinja2.ext",
    "jsonpath_ng.ext",
    "orjson",
    "pandas",
    "psycopg2",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.fs",
    "pyarrow.json",
    "pyarrow.parquet",
    "regex",
    "sqlalchemy.dialects.postgresql",
)


class PreloadingLocalExecutor(LocalExecutor):
    """Imports libraries once, in the scheduler, before it forks the workers that fork the tasks.

    Where processes are not forked (macOS), it does nothing more than LocalExecutor.
    """

    def start(self) -> None:
        if self.is_mp_using_fork:
            self.preload(MODULES)
        super().start()

    def preload(self, names: Iterable[str]) -> None:
        """Import modules; one that cannot be imported is left to the task that needs it, which says why."""
        began = time.monotonic()
        # Great Expectations tells hundreds of things about itself.
        logging.disable(logging.INFO)
        for name in names:
            try:
                importlib.import_module(name)
            except Exception:
                self.log.exception("Not preloaded: %s", name)
        logging.disable(logging.NOTSET)
        self.log.info("Libraries preloaded in %.1f s", time.monotonic() - began)
