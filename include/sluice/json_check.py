"""Checks that JSON text from the lake is JSON, where it is copied into a line as it is."""

from __future__ import annotations

import json
from typing import NoReturn

import duckdb
import pyarrow as pa

# Up to so many values are read one by one, which costs less than a query.
_FEW = 1_000
# What the engine takes for a number and JSON does not know, as other programs write it; a text with these
# letters elsewhere is read one more time.
_NO_NUMBERS = ("NaN", "Infinity", ":nan", ":inf")
_DOUBTFUL = " OR ".join(["NOT json_valid(text)", *(f"contains(text, '{word}')" for word in _NO_NUMBERS)])
# Values that are remembered as good: those of columns with few of them come again in every batch.
_REMEMBERED = 10_000


class BadJson(Exception):
    """A text that is not JSON."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class JsonCheck:
    """Looks at texts, null among them. Raises BadJson for the first that is not JSON."""

    def __init__(self) -> None:
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._good: set[str | None] = {None}

    def check(self, texts: pa.StringArray) -> None:
        """Raise BadJson if one of the texts is not JSON."""
        if len(texts) <= _FEW:
            self._one_by_one(texts)
            return
        if self._connection is None:
            self._connection = duckdb.connect(config={"threads": 1})
        self._connection.register("batch", pa.table({"text": texts}))
        try:
            doubtful = self._connection.execute(f"SELECT text FROM batch WHERE {_DOUBTFUL}").fetchall()
        finally:
            self._connection.unregister("batch")
        # The engine is stricter than JSON's grammar on some escapes, which readers take.
        self._one_by_one(pa.array([text for (text,) in doubtful], pa.string()))

    def _one_by_one(self, texts: pa.StringArray) -> None:
        for text in texts.to_pylist():
            if text in self._good:
                continue
            try:
                json.loads(text, parse_constant=_refuse)
            except (ValueError, RecursionError) as error:
                raise BadJson(text) from error
            if len(self._good) < _REMEMBERED and len(text) < 1_000:
                self._good.add(text)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
