"""Rows of Parquet as JSON (decisions D-17): what a preview shows is what an import converts.

Arrow's own `to_pylist` needs pandas for nanoseconds, a time zone database for zones, and gives up a whole
batch for one cell that Python cannot hold. Here every type that is no JSON is first cast to one that is
plain, and a batch that fails is read row by row, so that a bad cell costs its row only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from sluice.converter.outcomes import Json, RowError
from sluice.errors import SluiceError

Row = dict[str, Json]
_Cell = Callable[[Any], Json]

# How a file is opened. A buffer filled ahead keeps all that it ever read, so memory would grow with the file;
# INT96 read as nanoseconds wraps around outside of the years 1677 to 2262.
OPTIONS: dict[str, Any] = {
    "pre_buffer": False,
    "coerce_int96_timestamp_unit": "us",
    "page_checksum_verification": True,
}

_EPOCH = datetime(1970, 1, 1)
_MICROSECONDS = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}
_UNREADABLE = (pa.ArrowException, ValueError, OverflowError, KeyError)


class UnreadableSchema(SluiceError):
    """A schema whose rows are no JSON objects; the message names the column."""


class ParquetJson:
    """Turns record batches of one schema into rows of JSON values; `names` are the columns that it takes.

    Raises UnreadableSchema for a column that is named twice or has a type without a place in JSON.
    """

    def __init__(self, schema: pa.Schema, wanted: Collection[str] | None = None) -> None:
        _refuse_twice(schema.names, "")
        self._columns = [
            (index, field.name, *_plain(field.type, field.name))
            for index, field in enumerate(schema)
            if wanted is None or field.name in wanted
        ]
        self.names = [name for _, name, _, _ in self._columns]

    def rows(self, batch: pa.RecordBatch) -> list[Row | RowError]:
        """Return the batch's rows in their order; a row with a cell that cannot be read is its error."""
        try:
            return [*self._rows(batch)]
        except _UNREADABLE:
            return [self._row(batch.slice(place, 1)) for place in range(batch.num_rows)]

    def text(self, row: pa.RecordBatch) -> str:
        """Return a batch of one row as JSON text, whatever can be read of it."""
        cells: Row = {}
        for index, name, kind, cell in self._columns:
            try:
                [cells[name]] = _cells(row.column(index), kind, cell)
            except _UNREADABLE as error:
                cells[name] = f"(cannot be read: {error})"
        return json.dumps(cells, ensure_ascii=False)

    def _rows(self, batch: pa.RecordBatch) -> Iterable[Row]:
        if not self._columns:
            return ({} for _ in range(batch.num_rows))
        columns = [_cells(batch.column(index), kind, cell) for index, _, kind, cell in self._columns]
        return (dict(zip(self.names, cells, strict=True)) for cells in zip(*columns, strict=True))

    def _row(self, row: pa.RecordBatch) -> Row | RowError:
        cells: Row = {}
        for index, name, kind, cell in self._columns:
            try:
                [cells[name]] = _cells(row.column(index), kind, cell)
            except _UNREADABLE as error:
                return RowError(name, f"cannot be read from Parquet: {error}")
        return cells


def _cells(column: pa.Array, kind: pa.DataType, cell: _Cell | None) -> list[Json]:
    if column.type != kind:
        # Nanoseconds become microseconds: what is lost has no place in the ISO text either.
        column = column.cast(kind, safe=False)
    values: list[Json] = column.to_pylist()
    if cell is None:
        return values
    return [None if value is None else cell(value) for value in values]


def _plain(kind: pa.DataType, place: str) -> tuple[pa.DataType, _Cell | None]:
    """Return the type to cast to before Python sees the values, and what makes JSON of them then."""
    if pat.is_boolean(kind) or pat.is_integer(kind) or pat.is_null(kind) or _is_text(kind):
        return kind, None
    if pat.is_floating(kind):
        return kind, _number
    if pat.is_timestamp(kind):
        return pa.int64(), _moment(*_MICROSECONDS[kind.unit])
    if pat.is_date(kind):
        return kind, date.isoformat
    if pat.is_time(kind):
        return pa.time64("us"), time.isoformat
    if pat.is_duration(kind):
        # Parquet has no such type: what the file holds is the number.
        return pa.int64(), None
    if pat.is_decimal(kind):
        return kind, _decimal
    if _is_bytes(kind):
        return kind, _base64
    if pat.is_dictionary(kind):
        return _plain(kind.value_type, place)
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type, place)
    return _plain_nested(kind, place)


def _plain_nested(kind: pa.DataType, place: str) -> tuple[pa.DataType, _Cell | None]:
    if pat.is_map(kind):
        key_kind, key = _plain(kind.key_type, place)
        item_kind, item = _plain(kind.item_type, place)
        return pa.map_(key_kind, item_kind), _map(key, item)
    if pat.is_struct(kind):
        fields = list(kind)
        _refuse_twice([field.name for field in fields], f" of {place}")
        plain = [(field.name, *_plain(field.type, f"{place}.{field.name}")) for field in fields]
        cells = {name: cell for name, _, cell in plain if cell is not None}
        return pa.struct([(name, inner) for name, inner, _ in plain]), _struct(cells) if cells else None
    if _is_list(kind):
        inner, cell = _plain(kind.value_type, place)
        return pa.list_(inner), _list(cell) if cell else None
    raise UnreadableSchema(
        f"The column {place} has the type {kind}, which has no place in JSON: write it as another type,"
        " such as text or a number."
    )


def _refuse_twice(names: list[str], place: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UnreadableSchema(f"The schema names a column{place} twice: {', '.join(map(repr, twice[:5]))}.")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pat.is_string(kind) or pat.is_large_string(kind) or pat.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pat.is_binary(kind)
        or pat.is_large_binary(kind)
        or pat.is_fixed_size_binary(kind)
        or pat.is_binary_view(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pat.is_list(kind)
        or pat.is_large_list(kind)
        or pat.is_fixed_size_list(kind)
        or pat.is_list_view(kind)
        or pat.is_large_list_view(kind)
    )


def _number(value: float) -> Json:
    return value if value == value else None


def _moment(factor: int, divisor: int) -> _Cell:
    def moment(value: int) -> Json:
        try:
            return (_EPOCH + timedelta(microseconds=value * factor // divisor)).isoformat(
                timespec="microseconds"
            )
        except OverflowError:
            raise ValueError("a time outside of the years 1 to 9999") from None

    return moment


def _decimal(value: Decimal) -> Json:
    if Decimal(repr(float(value))) != value:
        return str(value)
    return int(value) if value == value.to_integral_value() else float(value)


def _base64(value: bytes) -> Json:
    return base64.b64encode(value).decode("ascii")


def _struct(cells: dict[str, _Cell]) -> _Cell:
    def struct(value: dict[str, Any]) -> Json:
        for name, cell in cells.items():
            if (item := value[name]) is not None:
                value[name] = cell(item)
        return value

    return struct


def _list(cell: _Cell) -> _Cell:
    def items(value: list[Any]) -> Json:
        return [None if item is None else cell(item) for item in value]

    return items


def _map(key: _Cell | None, item: _Cell | None) -> _Cell:
    """Make an object of a map; of equal keys the last one counts, as in JSON."""

    def entries(value: list[tuple[Any, Any]]) -> Json:
        return {
            _key(key(name) if key else name): item(held) if item and held is not None else held
            for name, held in value
        }

    return entries


def _key(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
