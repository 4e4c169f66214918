"""The readers by the converter's `fileType`; JSON lines and Parquet join here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sluice.errors import SluiceError
from sluice.imports.csv_rows import CsvFormat, CsvRows
from sluice.imports.records import RowReader

if TYPE_CHECKING:
    from sluice.converter import Converter


def _csv(blocks: Iterable[bytes], converter: Converter) -> RowReader:
    return CsvRows(blocks, CsvFormat.of(converter.config))


READERS: dict[str, Callable[[Iterable[bytes], Converter], RowReader]] = {"csv": _csv}


def reader_for(blocks: Iterable[bytes], converter: Converter) -> RowReader:
    """Return the reader of the uncompressed bytes of a file, by the converter's `fileType`.

    Raises SluiceError for a type that has no reader yet.
    """
    file_type = converter.config.file_type
    if file_type not in READERS:
        raise SluiceError(
            f"fileType {file_type} cannot be imported yet: this version reads {', '.join(sorted(READERS))}."
        )
    return READERS[file_type](blocks, converter)
