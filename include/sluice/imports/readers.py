"""The readers by the converter's `fileType`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sluice.imports.compression import decompress
from sluice.imports.csv_rows import CsvFormat, CsvRows
from sluice.imports.json_rows import JsonRows
from sluice.imports.objects import SourceObject
from sluice.imports.parquet_rows import ParquetRows
from sluice.imports.records import FileReader

if TYPE_CHECKING:
    from sluice.converter import Converter


def _csv(content: SourceObject, converter: Converter) -> FileReader:
    return CsvRows(_plain(content, converter), CsvFormat.of(converter.config))


def _json(content: SourceObject, converter: Converter) -> FileReader:
    return JsonRows(_plain(content, converter), converter.config.encoding)


def _parquet(content: SourceObject, converter: Converter) -> FileReader:
    usage = converter.usage
    return ParquetRows(content, None if usage.whole_row else usage.fields)


def _plain(content: SourceObject, converter: Converter) -> Iterator[bytes]:
    for block in decompress(content.blocks(), converter.config.compression):
        yield block
        # One compressed block may hold rows for many minutes.
        content.seen(0)


READERS: dict[str, Callable[[SourceObject, Converter], FileReader]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
}


def reader_for(content: SourceObject, converter: Converter) -> FileReader:
    """Return the reader of a file's rows, by the converter's `fileType`."""
    return READERS[converter.config.file_type](content, converter)
