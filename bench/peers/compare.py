"""How others would find out who entered and who left a cohort, and write the three CSV files.

Each reads the same two Parquet snapshots (amplitude_id, user_id, plan), compares them by both ids, nulls
being equal, and writes entering.csv, exiting.csv and existing.csv with every value quoted. The libraries are
imported before the clock starts.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench._measure import clocked

KEYS = ["amplitude_id", "user_id"]
COLUMNS = [*KEYS, "plan"]
HEADER = ["amplitudeID", "userID", "plan"]

# What a peer is given: the snapshots before and now, and the folder that the files go to.
Peer = Callable[[Path, Path, Path], Callable[[], object]]


def pandas_merge(before: Path, now: Path, folder: Path) -> Callable[[], object]:
    """One outer merge with an indicator."""
    import pandas as pd

    def work() -> None:
        old, new = pd.read_parquet(before), pd.read_parquet(now)
        both = new.merge(old, on=KEYS, how="outer", indicator=True, suffixes=("", "_before"))
        entering = both.loc[both["_merge"] == "left_only", COLUMNS]
        exiting = both.loc[both["_merge"] == "right_only", [*KEYS, "plan_before"]]
        del both, old
        for name, rows in (("entering", entering), ("exiting", exiting), ("existing", new)):
            rows.to_csv(folder / f"{name}.csv", header=HEADER, index=False, quoting=csv.QUOTE_ALL)

    return work


def polars(before: Path, now: Path, folder: Path) -> Callable[[], object]:
    """Two anti joins of its streaming engine, straight to files."""
    import polars as pl

    def work() -> None:
        old, new = pl.scan_parquet(before), pl.scan_parquet(now)
        lists = {
            "entering": new.join(old, on=KEYS, how="anti", nulls_equal=True),
            "exiting": old.join(new, on=KEYS, how="anti", nulls_equal=True),
            "existing": new,
        }
        for name, rows in lists.items():
            named = rows.select(
                pl.col(column).alias(alias) for column, alias in zip(COLUMNS, HEADER, strict=True)
            )
            named.sink_csv(folder / f"{name}.csv", quote_style="always")

    return work


def python_sets(before: Path, now: Path, folder: Path) -> Callable[[], object]:
    """Sets of pairs, and the csv module."""
    import pyarrow.parquet as pq

    def read(path: Path) -> dict[tuple[int, str | None], str | None]:
        columns = [column.to_pylist() for column in pq.read_table(path, columns=COLUMNS).columns]
        return dict(zip(zip(columns[0], columns[1], strict=True), columns[2], strict=True))

    def write(name: str, rows: Iterable[tuple[int, str | None]], plans: dict[Any, str | None]) -> None:
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows((*pair, plans[pair]) for pair in rows)

    def work() -> None:
        old, new = read(before), read(now)
        write("entering", new.keys() - old.keys(), new)
        write("exiting", old.keys() - new.keys(), old)
        write("existing", new, new)

    return work


PEERS: dict[str, Peer] = {peer.__name__: peer for peer in (pandas_merge, polars, python_sets)}


def main() -> None:
    """Do what the order on standard input says, and print the figures."""
    order = json.loads(sys.stdin.read())
    work = PEERS[order["peer"]](Path(order["before"]), Path(order["now"]), Path(order["out"]))
    figures: dict[str, float] = {}
    with clocked(figures):
        work()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
