"""Runs the main job on a stack of its own, and stays up: `python main_job.py FOLDER UI_PORT`.

Its first line of output tells the stack's URL, its second one that what it did is pickled in `FOLDER/done`.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

from sluice.demo.airflow_api import AirflowApi
from sluice.demo.flights import some_flights
from sluice.demo.notified import DAG, Notified, write_config
from sluice.demo.run import SOURCE, demonstrate
from sluice.local.stack import LocalStack


def main(folder: Path, ui_port: int) -> None:
    """Import two months, backfill two hours, reprocess them, sync two hours."""
    config = write_config(folder / "config")
    with LocalStack(folder / "stack", ui_port=ui_port, config_dir=config) as stack:
        print(json.dumps({"url": stack.airflow_url}), flush=True)
        done = demonstrate(stack, say, months=[1, 2], hours=2, cohort_hours=2)
        no_notified_file_is_lost(Notified(stack, AirflowApi(stack.airflow_url)))
        (folder / "done").write_bytes(pickle.dumps(done))
        print("done", flush=True)
        stack.wait()


def say(line: str) -> None:
    """Let the output of a failed test tell how far this came."""
    print(line, file=sys.stderr)


def no_notified_file_is_lost(source: Notified) -> None:
    """Airflow drops asset events of a paused DAG, and some of those that come while a run is active."""
    of = source.config.source(SOURCE)
    month = source.stack.s3.client().get_object(Bucket=of.bucket, Key=f"{of.prefix}flights-2013-02.csv.gz")
    content = month["Body"].read()
    files = [some_flights(content, n, n + 5) for n in range(0, 20, 5)]
    source.wait_idle()
    source.seconds_to_start(source.put(2, files[0]))
    for number in (3, 4):
        source.put(number, files[number - 2])
        source.wait(lambda: source.taken_messages() or None, "the trigger took no message", 60)
    assert [source.wait_loaded(number) for number in (2, 3, 4)] == [5, 5, 5]

    source.wait_idle()
    source.api.pause(DAG)
    source.put(5, files[3])
    source.wait(lambda: source.taken_messages() or None, "the trigger took no message", 60)
    source.api.unpause(DAG)
    assert source.wait_loaded(5) == 5


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
