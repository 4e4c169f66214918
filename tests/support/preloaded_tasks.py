"""Starts the preloading executor, and works as its tasks would: `python preloaded_tasks.py FOLDER`."""

from __future__ import annotations

import sys
from multiprocessing import Process
from pathlib import Path

from sluice_airflow.executors.preloading import MODULES, PreloadingLocalExecutor


def main(folder: str) -> None:
    assert not {"pyarrow", "duckdb", "great_expectations"} & set(sys.modules), (
        "the module itself imports them"
    )
    executor = PreloadingLocalExecutor(parallelism=1)
    executor.start()
    assert set(MODULES) <= set(sys.modules)
    ours = [name for name in sys.modules if name.partition(".")[0] == "sluice"]
    assert not ours, f"{ours} would grow old in the scheduler"
    [worker] = executor.workers
    libraries = Path(f"/proc/{worker}/maps").read_text()
    assert "libarrow" in libraries, "the worker was forked before the imports"
    assert "_duckdb" in libraries, "the worker was forked before the imports"
    executor.end()
    task = Process(target=work, args=(folder,))
    task.start()
    task.join(90)
    assert task.exitcode == 0, task.exitcode


def work(folder: str) -> None:
    """Use every library that has threads of its own: a fork that broke one would hang here, or die."""
    import deltalake
    import duckdb
    import great_expectations as gx
    import numpy as np
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    square = np.ones((500, 500))
    assert (square @ square)[0, 0] == 500
    query = "SELECT count(*) FROM range(3_000_000) t(i) WHERE hash(i) % 2 >= 0"
    assert duckdb.connect().execute(query).fetchall() == [(3_000_000,)]
    table = pa.table({"number": range(200_000), "name": ["n"] * 200_000})
    pq.write_table(table, f"{folder}/rows.parquet", row_group_size=10_000)
    assert ds.dataset(f"{folder}/rows.parquet").count_rows() == 200_000
    deltalake.write_deltalake(f"{folder}/table", table)
    assert deltalake.DeltaTable(f"{folder}/table").to_pyarrow_dataset().to_table().equals(table)
    frame = {"dataframe": table.slice(0, 9).to_pandas()}
    asset = gx.get_context(mode="ephemeral").data_sources.add_pandas("rows").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("rows").get_batch(frame)
    assert batch.validate(gx.expectations.ExpectColumnValuesToMatchRegex(column="name", regex="n")).success


if __name__ == "__main__":
    main(sys.argv[1])
