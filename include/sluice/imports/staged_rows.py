"""The staged rows of a run as its gate sees them: counted by footers, as a table for SQL, as a sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.lake import Lake
from sluice.lake.staged import open_staged
from sluice.lake.store import LakeError
from sluice.ledger.files import SourceFile
from sluice.quality.sample import RowPicker

if TYPE_CHECKING:
    import pyarrow.dataset as pads

# The column with the number of the file that a row is of.
FILE = "$file"
# Files at once: on a store most of the time goes into waiting for it.
_THREADS = 8
# As many rows, and row groups, as are read at most for a sample, of the columns that it needs: half a second.
_READ_ROWS = 1_000_000
_READ_GROUPS = 512


@dataclass(frozen=True)
class Footer:
    """What the end of a staged Parquet file says; `fault` why it cannot be read."""

    metadata: pq.FileMetaData | None = None
    fault: str | None = None

    @property
    def rows(self) -> int:
        """How many rows the file holds."""
        return 0 if self.metadata is None else self.metadata.num_rows


class StagedRows:
    """The staged files of source files, none of which failed; events have the columns of `schema`."""

    def __init__(self, lake: Lake, files: Sequence[SourceFile], schema: pa.Schema) -> None:
        self._lake = lake
        self._schema = schema
        self.files = files
        self.events = self._footers("events")
        self.rejects = self._footers("rejects")

    @property
    def count(self) -> int:
        """How many events there are."""
        return sum(footer.rows for footer in self.events)

    def dataset(self) -> pads.Dataset:
        """Return the events of all files that can be read, of which columns are read as they are needed."""
        # Importing it takes a third of a second.
        import pyarrow.dataset as pads

        parquet = pads.ParquetFileFormat()
        filesystem = self._lake.filesystem()
        fragments = [
            parquet.make_fragment(
                path, filesystem, partition_expression=pads.field(FILE) == pa.scalar(number, pa.int32())
            )
            for number, path in self._readable()
        ]
        schema = self._schema.append(pa.field(FILE, pa.int32()))
        return pads.FileSystemDataset(fragments, schema, parquet, filesystem)

    def sample(self, columns: Iterable[str], rows: int, seed: str) -> list[dict[str, Any]]:
        """Return so many events at most, by their columns: one of each of equal stretches of all files.

        Where there are many, not all row groups are read, but one of each of equal stretches of them. The
        same files and the same seed give the same sample.
        """
        names = [name for name in self._schema.names if name in set(columns)]
        chosen: dict[int, list[tuple[int, Any]]] = {}
        groups = self._groups(seed)
        picker = RowPicker(sum(count for _, _, count in groups), rows, seed)
        start = 0
        for number, group, count in groups:
            places = picker.pick(start, count)
            start += count
            if places.size:
                chosen.setdefault(number, []).append((group, places))

        def read(number: int) -> list[dict[str, Any]]:
            with open_staged(self._lake, str((self.files[number].staged or {})["events"])) as file:
                return [
                    row
                    for group, places in chosen[number]
                    for row in file.read_row_group(group, names).take(pa.array(places)).to_pylist()
                ]

        with ThreadPoolExecutor(_THREADS) as pool:
            return [row for found in pool.map(read, chosen) for row in found]

    def _groups(self, seed: str) -> list[tuple[int, int, int]]:
        """Return (file, row group, rows) of what is read for a sample, in the order of the files."""
        groups = [
            (number, group, footer.metadata.row_group(group).num_rows)
            for number, footer in enumerate(self.events)
            if footer.metadata is not None
            for group in range(footer.metadata.num_row_groups)
        ]
        wanted = min(_READ_GROUPS, max(1, _READ_ROWS * len(groups) // max(1, self.count)))
        picker = RowPicker(len(groups), wanted, f"groups {seed}")
        return [groups[place] for place in picker.pick(0, len(groups))]

    def _readable(self) -> list[tuple[int, str]]:
        return [
            (number, str((file.staged or {})["events"]))
            for number, (file, footer) in enumerate(zip(self.files, self.events, strict=True))
            if footer.metadata is not None
        ]

    def _footers(self, kind: str) -> list[Footer]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self._footer, [(file.staged or {})[kind] for file in self.files]))

    def _footer(self, path: str | None) -> Footer:
        if path is None:
            return Footer()
        try:
            with open_staged(self._lake, path) as file:
                return Footer(file.metadata)
        except LakeError as error:
            return Footer(fault=str(error))
        except pa.ArrowInvalid as error:
            return Footer(fault=f"the staged file {path} cannot be read: {error}")
