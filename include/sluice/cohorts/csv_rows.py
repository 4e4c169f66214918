"""Members as lines of CSV: every value quoted, column by column, no Python object made per row.

Rules: decisions K-3. Lines end in `\\n`, nulls are empty, quotes are doubled, a value's line breaks stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.cohorts.list_files import AMPLITUDE_ID, VALUE, property_column
from sluice.cohorts.property_text import property_text
from sluice.text_columns import bounded, data_bytes, offsets, value_bytes

HeaderStyle = Literal["docs", "api"]

_ID_NAMES: dict[HeaderStyle, tuple[str, str]] = {
    "docs": ("amplitudeID", "userID"),
    "api": ("amplitude_id", "user_id"),
}
# What a spreadsheet takes for a formula. Apostrophes in front are counted in, so that taking one away from
# every cell that this fits gives the value back.
_FORMULA = r"^'*[=+\-@\t\r]"
_MAY_BE_FORMULA = np.isin(np.arange(256), np.frombuffer(b"'=+-@\t\r", np.uint8))
# A dictionary pays while it has at most this share of the rows.
_DICTIONARY_SHARE = 0.5


class CsvEncoder:
    """Writes batches of a list's columns as lines; may be used by several threads at once."""

    def __init__(
        self, properties: Sequence[str], *, header_style: HeaderStyle = "docs", csv_safe: bool = False
    ) -> None:
        self._properties = tuple(properties)
        self._header_style = header_style
        self._csv_safe = csv_safe
        # Properties that had too many distinct values for a dictionary to pay.
        self._varied: set[str] = set()

    def header(self) -> bytes:
        """Return the first line; in the docs' style a name has quotes only where it needs them."""
        names = [*_ID_NAMES[self._header_style], *self._properties]
        if self._csv_safe:
            names = [f"'{name}" if re.match(_FORMULA, name) else name for name in names]
        always = self._header_style == "api"
        cells = [
            '"' + name.replace('"', '""') + '"' if always or re.search(r'[",\r\n]', name) else name
            for name in names
        ]
        return (",".join(cells) + "\n").encode()

    def encode(self, batch: pa.RecordBatch) -> Iterator[memoryview]:
        """Yield the lines of a batch; a property that the batch has no column of is empty.

        Raises PropertyError for a column of a type that has no text.
        """
        for part in bounded(batch):
            columns = [part.column(AMPLITUDE_ID).cast(pa.string()), self._cells(VALUE, part.column(VALUE))]
            for name in self._properties:
                if property_column(name) in part.schema.names:
                    columns.append(self._property(name, part.column(property_column(name))))
                else:
                    columns.append(pa.nulls(len(part), pa.string()))
            rows = pc.binary_join_element_wise(*columns, '","', null_handling="replace")
            # One list of all rows: a single pass puts the ends of the lines between them.
            whole = pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows)
            lines = pc.binary_join(whole, '"\n"')
            yield memoryview(b'"')
            yield memoryview(lines.buffers()[2])[: int(offsets(lines)[-1])]
            yield memoryview(b'"\n')

    def _property(self, name: str, column: pa.Array) -> pa.StringArray:
        if name not in self._varied:
            is_json = isinstance(column.type, pa.JsonType)
            encoded = (column.storage if is_json else column).dictionary_encode()
            if len(encoded.dictionary) <= max(1, len(column) * _DICTIONARY_SHARE):
                few = encoded.dictionary
                if is_json:
                    few = pa.ExtensionArray.from_storage(column.type, few)
                return self._cells(name, few).take(encoded.indices)
            # A short batch says little about the column.
            if len(column) >= 1_000:
                self._varied.add(name)
        return self._cells(name, column)

    def _cells(self, name: str, column: pa.Array) -> pa.StringArray:
        """Return what stands between the quotes."""
        text = property_text(name, column)
        if self._csv_safe:
            text = _without_formulas(text)
        return pc.replace_substring(text, '"', '""') if _has_quotes(text) else text


def _has_quotes(text: pa.StringArray) -> bool:
    return bool((value_bytes(text) == ord('"')).any())


def _without_formulas(text: pa.StringArray) -> pa.StringArray:
    """Put an apostrophe in front of what a spreadsheet would run; few values are looked at whole."""
    ends = offsets(text)
    filled = np.flatnonzero(ends[1:] > ends[:-1])
    suspects = filled[_MAY_BE_FORMULA[data_bytes(text)[ends[filled]]]]
    if not len(suspects):
        return text
    mask = np.zeros(len(text), np.bool_)
    mask[suspects] = True
    formulas = pc.and_(pa.array(mask), pc.match_substring_regex(text, _FORMULA).fill_null(False))
    return pc.if_else(formulas, pc.binary_join_element_wise("'", text, ""), text)
