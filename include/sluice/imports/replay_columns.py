"""The columns of replayed lines, built and checked column by column: a fault names its row by its place.

Whole columns are checked at once; only where that finds a fault are the values looked at one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.converter import RowError
from sluice.event_schema import OBJECT_COLUMNS, TIMESTAMP
from sluice.imports.replay_line import are_json, require_json
from sluice.imports.values import shown

_UUID = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
# `2020-01-25 17:03:11.123000`, or with a T as in the documented dialect (decisions E-1). Arrow reads no other
# text of this length as a time.
_TIME_CHARS = 26
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}", re.ASCII)
_YEAR_1 = -62_135_596_800_000_000
_INT64 = 1 << 63
# Below this, a double holds every whole number.
_EXACT = 1 << 53


class Faults:
    """The first fault of each row, by the row's place."""

    def __init__(self) -> None:
        self.by_row: dict[int, RowError] = {}

    def add(self, row: int, field: str, reason: str) -> None:
        """Note what is wrong with a row, unless something is already."""
        self.by_row.setdefault(row, RowError(field, reason))

    def add_all(self, wrong: pa.Array | np.ndarray, field: str, reason: Callable[[int], str]) -> None:
        """Note the fault of every row that a mask names; null in the mask is no fault."""
        mask = (
            wrong if isinstance(wrong, np.ndarray) else wrong.fill_null(False).to_numpy(zero_copy_only=False)
        )
        for row in np.flatnonzero(mask).tolist():
            self.add(row, field, reason(row))


def text_column(values: Sequence[str | None]) -> pa.Array:
    """Return text as it is."""
    # Most columns of a file hold one text, or none.
    if values and values.count(values[0]) == len(values):
        return pa.repeat(pa.scalar(values[0], pa.string()), len(values))
    return pa.array(values, pa.string())


def uuid_column(values: Sequence[str | None], faults: Faults) -> pa.Array:
    """Return the rows' uuids as they are; a missing or malformed one is a fault."""
    column = text_column(values)
    fits = pc.match_substring_regex(column, _UUID).fill_null(False)
    faults.add_all(
        pc.invert(fits),
        "uuid",
        lambda row: "is missing" if values[row] is None else f"{shown(values[row])} is no UUID",
    )
    return column


def boolean_column(values: Sequence[bool | None]) -> pa.Array:
    """Return booleans as they are."""
    return pa.array(values, pa.bool_())


def integer_column(key: str, values: Sequence[int | None], faults: Faults) -> pa.Array:
    """Return integers; one beyond 64 bits is a fault."""
    try:
        return pa.array(values, pa.int64())
    except (OverflowError, pa.ArrowInvalid):
        pass
    fitting = [value if value is None or -_INT64 <= value < _INT64 else None for value in values]
    for row, (value, fits) in enumerate(zip(values, fitting, strict=True)):
        if value is not None and fits is None:
            faults.add(row, key, f"{shown(value)} does not fit in 64 bits")
    return pa.array(fitting, pa.int64())


def decimal_column(
    key: str, values: Sequence[float | None], lines: Sequence[bytes], faults: Faults
) -> pa.Array:
    """Return doubles; a whole number that no double holds is a fault. The values are from the `lines`."""
    column = pa.array(values, pa.float64())
    large = pc.greater_equal(pc.abs(column), float(_EXACT)).fill_null(False)
    for row in np.flatnonzero(large.to_numpy(zero_copy_only=False)).tolist():
        value = json.loads(lines[row])[key]
        if isinstance(value, int) and value != values[row]:
            faults.add(row, key, f"{shown(value)} is not exact as a double")
    return column


def time_column(key: str, values: Sequence[str | None], faults: Faults) -> pa.Array:
    """Return moments from the export's form of a time, with T or a space; any other is a fault."""
    column = pa.array(values, pa.string())
    if column.null_count < len(column):
        lengths = pc.min_max(pc.binary_length(column)).as_py()
        if lengths == {"min": _TIME_CHARS, "max": _TIME_CHARS}:
            try:
                moments = column.cast(pa.timestamp("us")).view(pa.int64())
                if pc.min(moments).as_py() >= _YEAR_1:
                    return moments.view(TIMESTAMP)
            except pa.ArrowInvalid:
                pass
    checked = []
    for row, value in enumerate(values):
        moment = None
        if value is not None:
            moment = _moment(value)
            if moment is None:
                faults.add(row, key, f"{shown(value)} is no time of the form 2020-01-25 17:03:11.123000")
        checked.append(moment)
    return pa.array(checked, pa.timestamp("us")).view(pa.int64()).view(TIMESTAMP)


def _moment(value: str) -> datetime | None:
    if not _TIME.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def json_column(key: str, values: Sequence[msgspec.Raw], faults: Faults) -> pa.Array:
    """Return JSON text byte for byte, null for null; text that not every engine can read is a fault.

    Each distinct text is checked once.
    """
    count, data = len(values), b"".join(values)
    for text, value in ((b"null", None), (b"{}", "{}")):
        if data == text * count:
            return pa.repeat(pa.scalar(value, pa.string()), count)
    ends = np.cumsum(np.fromiter(map(len, values), np.int64, count))
    starts = np.concatenate(([0], ends)).astype(np.int32)
    first = np.frombuffer(data, np.uint8)[starts[:-1]]
    present = first != ord("n")
    validity = pa.py_buffer(np.packbits(present, bitorder="little"))
    buffers = [validity, pa.py_buffer(starts), pa.py_buffer(data)]
    texts = pa.Array.from_buffers(pa.binary(), count, buffers)
    encoded = texts.dictionary_encode()
    distinct = [text for text in encoded.dictionary.to_pylist() if text != b"{}"]
    if key in OBJECT_COLUMNS and (first[present] != ord("{")).any():
        wrong = _faulty(key, encoded.dictionary.to_pylist())
    else:
        wrong = {} if are_json(distinct) else _faulty(key, encoded.dictionary.to_pylist())
    if wrong:
        numbers = encoded.indices.to_pylist()
        for row, number in enumerate(numbers):
            if number in wrong:
                faults.add(row, key, wrong[number])
        # What is not UTF-8 must not become text; its rows are gone anyway.
        good = pa.array([number not in wrong for number in numbers])
        texts = pc.if_else(good, texts, pa.scalar(None, pa.binary()))
    return texts.cast(pa.string())


def _faulty(key: str, texts: Sequence[bytes]) -> dict[int, str]:
    """Say, by place, what is wrong with texts."""
    wrong = {}
    for place, text in enumerate(texts):
        try:
            if key in OBJECT_COLUMNS and not text.startswith(b"{"):
                raise RowError(key, f"must be an object, is {shown(text[:60].decode(errors='replace'))}")
            require_json(key, text)
        except RowError as error:
            wrong[place] = error.reason
    return wrong
