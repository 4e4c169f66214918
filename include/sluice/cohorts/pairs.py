"""Sets of (amplitude_id, value): what a member is to a destination (decisions K-15). Nulls are equal.

All functions take batches with these two columns that are ordered by amplitude_id.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sluice.cohorts.list_files import AMPLITUDE_ID, VALUE
from sluice.cohorts.sorted_blocks import ids_of

Positions = npt.NDArray[np.int64]


def find(rows: pa.RecordBatch, among: pa.RecordBatch) -> Positions:
    """Return for each row where the same pair is in the other batch (the first such row), else -1."""
    found = np.full(len(rows), -1, np.int64)
    if not len(rows) or not len(among):
        return found
    wanted, ids = ids_of(rows), ids_of(among)
    if not _rising(ids):
        return _find_by_code(rows, among)
    places = np.searchsorted(ids, wanted)
    places[places == len(ids)] = 0
    hits = np.flatnonzero(ids[places] == wanted)
    same = _equal(rows.column(VALUE), hits, among.column(VALUE), places[hits])
    hits = hits[same]
    found[hits] = places[hits]
    return found


def distinct(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows ordered by the pair, the first row of each."""
    if _rising(ids_of(rows)):
        return rows
    rows = rows.take(
        pc.sort_indices(
            pa.Table.from_batches([rows.select([AMPLITUDE_ID, VALUE])]),
            [(AMPLITUDE_ID, "ascending"), (VALUE, "ascending")],
        )
    )
    ids = ids_of(rows)
    first, second = np.arange(len(ids) - 1), np.arange(1, len(ids))
    repeated = ids[1:] == ids[:-1]
    repeated[repeated] = _equal(rows.column(VALUE), first[repeated], rows.column(VALUE), second[repeated])
    return rows.filter(pa.array(np.concatenate(([True], ~repeated))))


def _rising(ids: npt.NDArray[np.int64]) -> bool:
    """Say whether each id is there once, as it is but for people with several values."""
    return bool((ids[1:] > ids[:-1]).all())


def _equal(left: Any, of_left: Positions, right: Any, of_right: Positions) -> npt.NDArray[np.bool_]:
    one, other = left.take(pa.array(of_left)), right.take(pa.array(of_right))
    equal = pc.equal(one, other)
    if equal.null_count:
        equal = pc.or_(equal.fill_null(False), pc.and_(one.is_null(), other.is_null()))
    answer: npt.NDArray[np.bool_] = equal.to_numpy(zero_copy_only=False)
    return answer


def _find_by_code(rows: pa.RecordBatch, among: pa.RecordBatch) -> Positions:
    """Find pairs where ids repeat: by one number for each distinct pair."""
    values = pa.concat_arrays([rows.column(VALUE), among.column(VALUE)])
    encoded = values.dictionary_encode(null_encoding="encode")
    _, ids = np.unique(np.concatenate([ids_of(rows), ids_of(among)]), return_inverse=True)
    codes = ids * len(encoded.dictionary) + encoded.indices.to_numpy()
    wanted, known = codes[: len(rows)], codes[len(rows) :]
    # Stable, so that the first of several equal rows is found.
    order = np.argsort(known, kind="stable")
    places = np.searchsorted(known[order], wanted)
    places[places == len(known)] = 0
    hit = known[order[places]] == wanted
    return np.where(hit, order[places], -1)
