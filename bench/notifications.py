"""From the PUT of a file to the start of its DAG run, by S3's notification, SQS and Airflow's triggerer.

The whole local stack runs, with the settings of `sluice_airflow.schedules`: long polls of 20 s, a second
between polls, one message at a time; the scheduler's idle pause is 0.1 s. The next file is put when the DAG
has come to rest, after a pause of no fixed length, so that it meets the trigger anywhere in its round.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path

FILES = 50
ROWS = 5


def run() -> dict[str, float]:
    from sluice.demo.airflow_api import AirflowApi
    from sluice.demo.flights import monthly_files, some_flights
    from sluice.demo.notified import DAG, Notified, write_config
    from sluice.local.stack import LocalStack

    pauses = random.Random(2013)
    content = next(iter(monthly_files([1]).values()))
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        home = Path(folder)
        config = write_config(home / "config")
        with LocalStack(home / "stack", ui_port=18081, config_dir=config, report=print) as stack:
            source = Notified(stack, AirflowApi(stack.airflow_url))
            lake_bucket = source.config.lake.uri.removeprefix("s3://").partition("/")[0]
            stack.s3.client().create_bucket(Bucket=lake_bucket)
            source.open(some_flights(content, 0, ROWS))
            source.api.wait_for_dag(DAG)
            source.api.unpause(DAG)
            source.wait_loaded(0)
            seconds = []
            for number in range(1, FILES + 1):
                source.wait_idle()
                # The trigger looks at the queue again and again: a file may come at any moment of that.
                time.sleep(pauses.uniform(0, 3))
                put = source.put(number, some_flights(content, number * ROWS, (number + 1) * ROWS))
                seconds.append(source.seconds_to_start(put))
                rows = source.wait_loaded(number)
                if rows != ROWS:
                    raise RuntimeError(f"file {number} has {rows} rows in the lake, not {ROWS}")
    return {
        "notifications.files": FILES,
        "notifications.put_to_run_start_seconds.median": statistics.median(seconds),
        "notifications.put_to_run_start_seconds.p95": statistics.quantiles(seconds, n=20, method="inclusive")[
            -1
        ],
        "notifications.put_to_run_start_seconds.max": max(seconds),
    }
