"""Event columns to JSON lines, column by column: no Python object is made per row.

The text of a line is joined from about one piece per column. A column of few values is written through a
dictionary: each distinct value is quoted once, together with the key in front of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sluice.exports.errors import LakeRowError, LakeSchemaError
from sluice.json_check import BadJson, JsonCheck
from sluice.json_columns import doubles, needs_escapes, one_line, quoted
from sluice.lake.schema import EXPORT_KEYS, JSON_COLUMNS, UNDOCUMENTED_KEYS
from sluice.text_columns import Piece, append_pieces, as_string, bounded, offsets

Dialect = Literal["observed", "documented"]

# A dictionary pays while it has at most this share of the rows.
_DICTIONARY_SHARE = 0.5


@dataclass(frozen=True)
class Lines:
    """Lines one after the other, each with its line feed; line i is `data[offsets[i]:offsets[i + 1]]`."""

    data: memoryview
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1


def export_keys(dialect: Dialect) -> tuple[str, ...]:
    """Return the keys of a line in their order: all 55, or the 48 documented ones (decisions E-18)."""
    if dialect == "observed":
        return EXPORT_KEYS
    return tuple(key for key in EXPORT_KEYS if key not in UNDOCUMENTED_KEYS)


class LineEncoder:
    """Writes batches of event columns as JSON lines in one dialect.

    Every key is there, nulls included, in alphabetical order; times are `YYYY-MM-DD HH:MM:SS.ffffff`, with
    `T` in the documented dialect (decisions E-1); dictionary fields are the lake's JSON text as it is; NaN
    and infinity, which JSON does not know, are null. In the observed dialect the keys of `extra` follow.
    """

    def __init__(self, dialect: Dialect = "observed") -> None:
        self._dialect = dialect
        self._keys = export_keys(dialect)
        # The text in front of each value; the first opens the line.
        self._heads = {key: f"{',' if n else '{'}{json.dumps(key)}:" for n, key in enumerate(self._keys)}
        # Columns that had too many distinct values for a dictionary to pay.
        self._varied: set[str] = set()
        self._json = JsonCheck()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a batch must have."""
        return (*self._keys, "extra") if self._dialect == "observed" else self._keys

    def encode(self, batch: pa.RecordBatch) -> Iterator[Lines]:
        """Encode a batch, in several pieces if it is large.

        Raises LakeSchemaError if a column is missing, LakeRowError if a dictionary field is not JSON.
        """
        missing = [name for name in self.columns if name not in batch.schema.names]
        if missing:
            raise LakeSchemaError(
                f"The lake's events have no column {', '.join(missing)}: the lake was written by another"
                " version of Sluice; bring both to the same version."
            )
        for part in bounded(batch):
            try:
                text = self._join(part)
            except BadJson as bad:
                _refuse_row(part, bad.text)
            yield _lines(text)

    def _join(self, batch: pa.RecordBatch) -> pa.StringArray:
        times: list[tuple[pa.Array, pa.Array]] = []
        pieces: list[Piece] = []
        for key in self._keys:
            append_pieces(pieces, self._pieces(key, batch.column(key), times))
        append_pieces(pieces, self._tail(batch))
        if len(pieces) == 1:
            # Rows that are all alike: a join of scalars only would give one line.
            return pa.repeat(pieces[0], batch.num_rows)
        return pc.binary_join_element_wise(*pieces, "")

    def _pieces(self, key: str, column: pa.Array, times: list[tuple[pa.Array, pa.Array]]) -> list[Piece]:
        head = self._heads[key]
        if column.null_count == len(column):
            return [f"{head}null"]
        if pa.types.is_dictionary(column.type):
            return [self._through_dictionary(key, column, head)]
        if pa.types.is_timestamp(column.type):
            # client_upload_time and server_received_time, and others, are often the same column twice.
            for known, text in times:
                if known.equals(column):
                    return [head, text]
            text = self._values(key, column)
            times.append((column, text))
            return [head, text]
        if key not in self._varied:
            encoded = column.dictionary_encode()
            if len(encoded.dictionary) <= max(1, len(column) * _DICTIONARY_SHARE):
                return [self._through_dictionary(key, encoded, head)]
            # A short batch says little about the column.
            if len(column) >= 1_000:
                self._varied.add(key)
        if column.null_count == 0 and pa.types.is_string(column.type):
            if key in JSON_COLUMNS:
                self._json.check(column)
                return [head, one_line(column)]
            if not needs_escapes(column):
                return [f'{head}"', column, '"']
        return [head, self._values(key, column)]

    def _through_dictionary(self, key: str, column: pa.DictionaryArray, head: str) -> Piece:
        texts = pc.binary_join_element_wise(head, self._values(key, column.dictionary), "")
        indices = column.indices
        if indices.null_count:
            texts = pa.concat_arrays([texts, pa.array([f"{head}null"], texts.type)])
            indices = indices.fill_null(len(texts) - 1)
        elif len(texts) == 1:
            return str(texts[0].as_py())
        return texts.take(indices)

    def _values(self, key: str, column: pa.Array) -> pa.StringArray:
        """Return the JSON text of each value; null becomes `null`."""
        if pa.types.is_timestamp(column.type):
            text = self._timestamps(column)
        elif pa.types.is_boolean(column.type):
            text = pc.if_else(column, "true", "false")
        elif pa.types.is_floating(column.type):
            text = doubles(column)
        elif pa.types.is_integer(column.type):
            text = column.cast(pa.string())
        elif key in JSON_COLUMNS:
            self._json.check(as_string(column))
            text = one_line(as_string(column))
        else:
            text = quoted(as_string(column))
        return text.fill_null("null") if text.null_count else text

    def _timestamps(self, column: pa.Array) -> pa.StringArray:
        encoded = column.dictionary_encode()
        # Without its zone (all are UTC) a time prints as `2020-01-25 17:03:11.123000`.
        moments = encoded.dictionary.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.timestamp("us"))
        texts = moments.cast(pa.string())
        if self._dialect == "documented":
            texts = pc.binary_replace_slice(texts, 10, 11, "T")
        return pc.binary_join_element_wise('"', texts, '"', "").take(encoded.indices)

    def _tail(self, batch: pa.RecordBatch) -> list[Piece]:
        """Return what ends the lines: the keys beyond the 55 that replayed rows have, and the brace."""
        if self._dialect == "documented":
            return ["}\n"]
        extra = batch.column("extra")
        if extra.null_count == len(extra):
            return ["}\n"]
        self._json.check(as_string(extra))
        text = pc.utf8_trim_whitespace(one_line(as_string(extra)))
        members = pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(text, 1, -1)).fill_null("")
        present = pc.greater(pc.binary_length(members), 0)
        return [pc.if_else(present, pc.binary_join_element_wise(",", members, "}\n", ""), "}\n")]


def _refuse_row(batch: pa.RecordBatch, text: str) -> NoReturn:
    """Raise LakeRowError for the first row with this text in a dictionary field."""
    for name in (JSON_COLUMNS | {"extra"}).intersection(batch.schema.names):
        row = pc.index(as_string(batch.column(name)), text).as_py()
        if row >= 0:
            raise LakeRowError(
                f"The lake's event {batch.column('uuid')[row]} (server_upload_time"
                f" {batch.column('server_upload_time')[row]}) has text in {name} that is not JSON. Another"
                " program wrote it: mend or delete this row in the lake's events, then export the hour again."
            )
    raise AssertionError("a text that no row has")


def _lines(text: pa.StringArray) -> Lines:
    starts = offsets(text)
    data = memoryview(text.buffers()[2])[int(starts[0]) : int(starts[-1])]
    return Lines(data, starts.astype(np.int64) - int(starts[0]))
