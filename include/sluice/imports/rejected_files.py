"""Rejected rows as files in the source's own format, so that they can be mended and uploaded."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from sluice.config import ImportConfig
from sluice.converter import Converter
from sluice.errors import SluiceError
from sluice.imports.again import fault_of_kept
from sluice.imports.csv_rows import CsvFormat
from sluice.imports.rejects import rejected_rows
from sluice.lake import Lake
from sluice.ledger import Ledger
from sluice.ledger.again import open_rejects

Columns = tuple[str, ...] | None


@dataclass
class Exported:
    """What was written: rows by file; and what was left out, since the lake does not have all of it."""

    rows: dict[Path, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def lines(self, converter: Converter) -> Iterator[str]:
        """Write it as text, with what to do before an upload."""
        for path, count in self.rows.items():
            yield f"{path}: {count:,} rows"
        for text in self.left_out:
            yield f"left out: {text}"
        if not self.rows:
            yield "no rows to export"
            return
        config = converter.config
        hints = ["Mend the rows and upload them under a new name that filterPattern matches"]
        if config.file_type == "parquet":
            hints.append(
                " to a source whose converter says fileType json: rows of Parquet are written as JSON"
            )
        if config.compression == "gzip":
            hints.append(", compressed with gzip")
        yield f"{''.join(hints)}. Do not also take the same rows with `sluice import again`."


def export_rejects(
    lake: Lake,
    ledger: Ledger,
    source: ImportConfig,
    converter: Converter,
    folder: Path,
    keys: Collection[str] = (),
) -> Exported:
    """Write a source's open rejects, or those of the files named, to a folder: one file for each header.

    CSV has its header, as the files had it. Raises SluiceError if a file would be overwritten.
    """
    config = converter.config
    columns = {one.key: one.columns for one in open_rejects(ledger, source.id)}
    result = Exported()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        targets: dict[Columns, tuple[Path, TextIO]] = {}
        for row in rejected_rows(lake, ledger, source.project, source.id, keys):
            if fault := fault_of_kept(row, config.file_type) or _not_encodable(row.raw, config.encoding):
                result.left_out.append(f"{row.key}, row {row.row:,}: {fault}")
                continue
            header = columns.get(row.key) if config.file_type == "csv" and config.csv_header else None
            if header not in targets:
                ending = "csv" if config.file_type == "csv" else "json"
                path = folder / f"{source.id}-rejects-{len(targets) + 1}.{ending}"
                targets[header] = path, _open(stack, path, config.encoding)
                result.rows[path] = 0
                if header:
                    targets[header][1].write(_header(header, CsvFormat.of(config)))
            path, target = targets[header]
            target.write(row.raw + "\n")
            result.rows[path] += 1
    return result


def _open(stack: ExitStack, path: Path, encoding: str) -> TextIO:
    try:
        return stack.enter_context(path.open("x", encoding=encoding, newline=""))
    except FileExistsError:
        raise SluiceError(f"{path} is there already: name another folder, or move it away.") from None


def _not_encodable(text: str, encoding: str) -> str | None:
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        return f"{text[error.start]!r} cannot be written as {encoding}"
    return None


def _header(names: tuple[str, ...], layout: CsvFormat) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n", **layout.dialect()).writerow(names)
    return line.getvalue()
