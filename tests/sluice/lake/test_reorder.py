"""Rows come out by their places, whether they fit in memory or go through files."""

import numpy as np
import pyarrow as pa
import pytest

from sluice.lake.reorder import reorder

SCHEMA = pa.schema([("place", pa.int64()), ("text", pa.string())])


def batches(places, size):
    for start in range(0, len(places), size):
        part = places[start : start + size]
        yield pa.RecordBatch.from_arrays(
            [pa.array(part), pa.array([f"row {place}" if place % 7 else None for place in part])],
            schema=SCHEMA,
        )


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 11, 95, 100, 1000])
@pytest.mark.parametrize("how", ["as it is", "backwards", "at random"])
def test_rows_come_by_their_places(rows, how, monkeypatch):
    monkeypatch.setattr("sluice.lake.reorder.BUCKET_ROWS", 10)
    monkeypatch.setattr("sluice.lake.reorder.MAX_BUCKETS", 12)
    places = np.arange(rows)
    if how == "backwards":
        places = places[::-1]
    elif how == "at random":
        places = np.random.default_rng(7).permutation(rows)
    given = list(reorder(batches(places, 17), places, SCHEMA, 8))
    table = pa.Table.from_batches(given, SCHEMA)
    table.validate(full=True)
    assert table["place"].to_pylist() == list(range(rows))
    assert table["text"].to_pylist() == [f"row {n}" if n % 7 else None for n in range(rows)]
    assert all(0 < batch.num_rows <= 8 for batch in given)
