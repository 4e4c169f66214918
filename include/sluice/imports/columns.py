"""Events by the column: what `EventBuilder` does row by row, for the rows that hold nothing special.

Most rows of a file are plain: texts are texts, numbers are numbers, nothing is too long. A list of such
values becomes an Arrow column in one call, which checks them on the way, where a row would take a dozen calls
in Python. Every row for which that is not enough is *odd*, and goes through EventBuilder: its rules are the
only ones, and this module must give what it gives, or call the row odd.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from sluice.converter import RowError
from sluice.event_schema import TIMESTAMP
from sluice.imports.events import (
    HANDLED,
    IDENTIFY,
    LIBRARY,
    REVENUE_KEYS,
    TEXT_COLUMNS,
    complete_batch,
)
from sluice.imports.identity import MIN_ID_LENGTH, RowNames, dedup_keys, device_of_user, id_fault
from sluice.imports.properties import (
    MAX_DEPTH,
    MAX_GROUP_TYPES,
    limit_groups,
    limit_plan,
    object_text,
    refuse_operations,
)
from sluice.imports.tally import Tally, count_bounded
from sluice.imports.times import EventTimes
from sluice.imports.values import MAX_TEXT, decimal_number, plain_integers, text, truth, whole_number

Fields = dict[str, list[Any]]

_NONE = type(None)
# How an id of at least 5 characters may begin that stands for no id.
_DOUBTFUL = {
    text
    for begin in ("--", "-0", "0-", "00", "an", "lm", "un")
    for text in (begin, begin.upper(), begin.capitalize(), begin[0] + begin[1].upper())
}

# Field, the types that Arrow takes as they are, its own type, and what changes the others.
_NUMBERS: tuple[tuple[str, set[type], pa.DataType, Callable[[str, Any], Any]], ...] = (
    ("event_id", {int, _NONE}, pa.int64(), whole_number),
    ("session_id", {int, _NONE}, pa.int64(), whole_number),
    ("location_lat", {float, _NONE}, pa.float64(), decimal_number),
    ("location_lng", {float, _NONE}, pa.float64(), decimal_number),
    # An export has true or nothing (amplitude-spec 1.3).
    ("paying", {_NONE}, pa.bool_(), lambda key, value: truth(key, value) or None),
)


class EventColumns:
    """Makes a batch of STAGED_EVENTS of many converted events of one file, and says which rows are odd."""

    def __init__(self, names: RowNames, times: EventTimes) -> None:
        self._names = names
        self._times = times

    def batch(
        self, rows: Sequence[int], fields: Fields, odd: set[int], tally: Tally
    ) -> pa.RecordBatch | None:
        """Return the events of all rows but the odd ones, in their order; None if there are none.

        `rows` are their numbers in the file. `odd`, which holds places in `rows`, is added to; what the other
        rows count goes to `tally`.
        """
        count = len(rows)
        moments = self._times.column(fields.get("time") or [None] * count, odd)
        notes: dict[int, list[str]] = {}
        columns = {"client_event_time": pa.array(moments).view(TIMESTAMP)}
        columns |= _texts(fields, odd)
        columns |= self._identity(rows, fields, odd, notes)
        columns |= _numbers(fields, odd)
        columns |= _properties(fields, odd)
        for key in REVENUE_KEYS & fields.keys():
            odd.update(place for place, value in enumerate(fields[key]) if value is not None)
        if len(odd) == count:
            return None
        batch = complete_batch(columns, count, self._times)
        if odd:
            plain = np.ones(count, dtype=bool)
            plain[list(odd)] = False
            moments = moments[plain]
            batch = batch.filter(pa.array(plain))
        self._times.collect(moments)
        _count(fields, notes, odd, tally)
        return batch

    def _identity(
        self, rows: Sequence[int], fields: Fields, odd: set[int], notes: dict[int, list[str]]
    ) -> dict[str, pa.Array]:
        nothing: list[Any] = [None] * len(rows)
        kinds = _event_types(fields.get("event_type", nothing), odd)
        users = _ids("user_id", fields.get("user_id", nothing), odd, notes)
        devices = _ids("device_id", fields.get("device_id", nothing), odd, notes)
        if None in devices:
            if None in users:
                odd.update(
                    place
                    for place, (user, device) in enumerate(zip(users, devices, strict=True))
                    if user is None and device is None
                )
            devices = [
                device_of_user(user) if device is None and user is not None else device
                for user, device in zip(users, devices, strict=True)
            ]
        given, _ = _text_column("insert_id", fields.get("insert_id", nothing), odd)
        if None in given or "" in given:
            own = self._names.insert_id
            given = [value or own(row) for row, value in zip(rows, given, strict=True)]
        high, low = dedup_keys(devices, given)
        return {
            "uuid": self._names.uuids(rows),
            "$insert_id": pa.array(given, pa.string()),
            "event_type": kinds,
            "user_id": pa.array(users, pa.string()),
            "device_id": pa.array(devices, pa.string()),
            "dedup_hi": pa.array(high),
            "dedup_lo": pa.array(low),
            "row": pa.array(rows, pa.int64()),
        }


def _texts(fields: Fields, odd: set[int]) -> dict[str, pa.Array]:
    columns = {}
    for key, column in TEXT_COLUMNS.items():
        if key in fields:
            values = fields[key]
            if key == "ip" and "$remote" in values:
                # The sender's address: a file has none.
                values = [None if value == "$remote" else value for value in values]
            elif key == "library":
                values = [LIBRARY if value is None else value for value in values]
            _, columns[column] = _text_column(key, values, odd)
    return columns


def _text_column(key: str, values: list[Any], odd: set[int]) -> tuple[list[Any], pa.Array]:
    """Return texts and their array; Arrow refuses what is no text, and what UTF-8 cannot hold."""
    try:
        return values, pa.array(values, pa.string())
    except (pa.ArrowException, UnicodeEncodeError, TypeError, ValueError):
        values = _each(values, partial(text, key), odd)
        return values, pa.array(values, pa.string())


def _each(values: Iterable[Any], change: Callable[[Any], Any], odd: set[int]) -> list[Any]:
    """Change every value but None; where that raises an error, the row is odd and gets None."""
    results: list[Any] = []
    for place, value in enumerate(values):
        try:
            results.append(None if value is None else change(value))
        except RowError:
            odd.add(place)
            results.append(None)
    return results


def _event_types(values: list[Any], odd: set[int]) -> pa.Array:
    if set(map(type, values)) != {str}:
        odd.update(place for place, value in enumerate(values) if type(value) is not str)
        values = [value if type(value) is str else "" for value in values]
    strange = {kind for kind in set(values) if not kind.strip() or kind in IDENTIFY or len(kind) > MAX_TEXT}
    if strange:
        odd.update(place for place, value in enumerate(values) if value in strange)
    _, array = _text_column("event_type", values, odd)
    return array


def _ids(field: str, values: list[Any], odd: set[int], notes: dict[int, list[str]]) -> list[str | None]:
    """Return the ids as texts, None for what is no id; `notes` says so by place."""
    values, _ = _text_column(field, values, odd)
    doubtful = [
        place
        for place, value in enumerate(values)
        if value is not None
        and not (
            MIN_ID_LENGTH <= len(value) <= MAX_TEXT
            and " " < value[0] < "\x7f"
            and " " < value[-1] < "\x7f"
            and value[:2] not in _DOUBTFUL
        )
    ]
    if doubtful:
        values = values.copy()
        for place in doubtful:
            if (fault := id_fault(values[place])) is not None:
                notes.setdefault(place, []).append(f"{field}: removed, it {fault}")
                values[place] = None
            elif len(values[place]) > MAX_TEXT:
                odd.add(place)
    return values


def _numbers(fields: Fields, odd: set[int]) -> dict[str, pa.Array]:
    columns = {}
    for key, kinds, kind, change in _NUMBERS:
        if key in fields:
            columns[key] = _number_column(fields[key], kinds, kind, partial(change, key), odd)
    return columns


def _number_column(
    values: Sequence[Any], kinds: set[type], kind: pa.DataType, change: Callable[[Any], Any], odd: set[int]
) -> pa.Array:
    if kind == pa.int64():
        values = plain_integers(values) or values
    if set(map(type, values)) <= kinds:
        try:
            return pa.array(values, kind)
        except (pa.ArrowException, OverflowError):
            pass
    # An empty cell of CSV is no value.
    return pa.array(_each((None if value == "" else value for value in values), change, odd), kind)


def _properties(fields: Fields, odd: set[int]) -> dict[str, pa.Array]:
    columns = {}
    for key, limit in (
        ("event_properties", None),
        ("user_properties", None),
        ("groups", limit_groups),
        ("group_properties", None),
        ("plan", limit_plan),
    ):
        if key in fields:
            columns[key] = _object_column(key, fields[key], limit, odd)
    return columns


def _object_column(
    field: str,
    values: list[Any],
    limit: Callable[[dict[str, Any], Counter[str]], dict[str, Any]] | None,
    odd: set[int],
) -> pa.Array:
    """Return objects as JSON text; a row is odd if anything must be refused, left out or cut."""
    if not set(map(type, values)) <= {dict, _NONE}:
        odd.update(
            place for place, value in enumerate(values) if value is not None and type(value) is not dict
        )
        values = [value if type(value) is dict else None for value in values]
    try:
        texts = [b"{}" if value is None else orjson.dumps(value) for value in values]
    except orjson.JSONEncodeError:
        return pa.array(_each_object(field, values, limit, odd), pa.string())
    array = pa.array(texts, pa.binary())
    everything = b"".join(texts)
    # Each text has one bracket at least: so none can have more than the others leave over.
    brackets = everything.count(b"{") + everything.count(b"[") - len(texts)
    operations = field in ("user_properties", "group_properties") and b'"$' in everything
    groups = field == "groups" and (
        b"[" in everything or any(value is not None and len(value) > MAX_GROUP_TYPES for value in values)
    )
    if max(map(len, texts)) > MAX_TEXT or brackets >= MAX_DEPTH or operations or groups or field == "plan":
        return pa.array(_each_object(field, values, limit, odd), pa.string())
    return pa.Array.from_buffers(pa.string(), len(array), array.buffers())


def _each_object(
    field: str,
    values: list[Any],
    limit: Callable[[dict[str, Any], Counter[str]], dict[str, Any]] | None,
    odd: set[int],
) -> list[str]:
    texts = []
    for place, value in enumerate(values):
        json_text = "{}"
        if value:
            notes: Counter[str] = Counter()
            try:
                if field in ("user_properties", "group_properties"):
                    refuse_operations(field, value)
                json_text = object_text(field, limit(value, notes) if limit else value, notes)
            except RowError:
                odd.add(place)
            if notes:
                odd.add(place)
        texts.append(json_text)
    return texts


def _count(fields: Fields, notes: dict[int, list[str]], odd: set[int], tally: Tally) -> None:
    for place in sorted(notes):
        if place not in odd:
            tally.notes.update(notes[place])
    for key, values in fields.items():
        if key not in HANDLED and key not in TEXT_COLUMNS:
            given = sum(value is not None for place, value in enumerate(values) if place not in odd)
            if given:
                count_bounded(tally.ignored_fields, key, given)
