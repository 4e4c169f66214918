"""Reads a cohort's file of ids."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.list_files import property_column
from sluice.config import Config
from sluice.config.cohorts import CohortConfig

FOLDER = "cohorts"
ID_COLUMNS = ("user_id", "amplitude_id")

_BATCH_ROWS = 50_000


@dataclass(frozen=True)
class IdFile:
    """A file of ids whose header is as it should be."""

    cohort: CohortConfig
    path: Path
    id_column: str
    header: tuple[str, ...]

    @classmethod
    def open(cls, cohort: CohortConfig, config: Config) -> IdFile:
        """Read the header. Raises CohortQueryError for a file that cannot be read or has other columns."""
        assert cohort.ids_file is not None
        path = config.directory / FOLDER / cohort.ids_file
        header = next(_lines(cohort, path), (0, []))[1]
        ids = [name for name in header if name in ID_COLUMNS]
        if len(ids) != 1:
            raise CohortQueryError.of(
                cohort,
                f"{cohort.ids_file}: the first line must name the columns, one of which is user_id or"
                f" amplitude_id, and not both; it names {', '.join(header) or 'nothing'}",
            )
        if sorted(header) != sorted([*ids, *cohort.properties]):
            wanted = ", ".join([*ids, *cohort.properties])
            raise CohortQueryError.of(
                cohort,
                f"{cohort.ids_file} has the columns {', '.join(header)}, and by `properties` it should have"
                f" {wanted}: change the one or the other",
            )
        return cls(cohort, path, ids[0], tuple(header))

    def rows(self) -> Iterator[pa.Table]:
        """Yield the lines with their numbers: `line`, `id`, and the properties, empty cells as null.

        A property's column has a name of its own (property_column): it may be called `line` or `id`.
        """
        order = [self.header.index(name) for name in (self.id_column, *self.cohort.properties)]
        lines = islice(_lines(self.cohort, self.path), 1, None)
        while piece := list(islice(lines, _BATCH_ROWS)):
            for number, cells in piece:
                if len(cells) != len(self.header):
                    raise CohortQueryError.of(
                        self.cohort,
                        f"{self.cohort.ids_file}, line {number}: {len(cells)} cells where the first line"
                        f" names {len(self.header)} columns",
                    )
            columns = [pa.array([cells[place] or None for _, cells in piece], pa.string()) for place in order]
            numbers = pa.array([number for number, _ in piece], pa.int64())
            names = ["line", "id", *map(property_column, self.cohort.properties)]
            yield pa.table([numbers, *columns], names=names)


def _lines(cohort: CohortConfig, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are not empty, with the number at which each ends."""
    try:
        # With or without the mark that spreadsheets put in front.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, [cell.strip() for cell in cells]
    except FileNotFoundError as error:
        raise CohortQueryError.of(cohort, f"there is no file {path}: put it there") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CohortQueryError.of(
            cohort,
            f'{cohort.ids_file} is no CSV file in UTF-8 (cells quoted by ", parted by commas): {error}',
        ) from error
