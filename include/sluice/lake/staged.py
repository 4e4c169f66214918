"""What the import has staged below the lake: one file of rows for each source file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.lake.store import Lake, LakeError
from sluice.ledger.files import origin


@dataclass(frozen=True)
class StagedFile:
    """One source file, converted: where its rows wait below the lake's filesystem, and their counts.

    `events` is None if no row is left to load; `failed` is the reason if the file as a whole is refused:
    then none of its rows is loaded, and its rejects are kept.
    """

    bucket: str
    key: str
    etag: str
    rows_read: int
    ignored: int
    rejected: int
    events: str | None = None
    rejects: str | None = None
    failed: str | None = None

    @property
    def name(self) -> tuple[str, str]:
        """The file's name within its source: bucket and key."""
        return self.bucket, self.key

    @property
    def rows(self) -> int:
        """How many rows are staged as events: each becomes a row of the lake, a duplicate or a reject."""
        return self.rows_read - self.ignored - self.rejected

    @property
    def uri(self) -> str:
        """The object's name as its rows carry it in the hidden column `object`, also if they come again."""
        return f"s3://{origin(self.bucket)[0]}/{self.key}"


def batches_of(
    file: pq.ParquetFile, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read columns of a Parquet file, all by default, in batches of at most so many rows.

    A batch never spans row groups, which are small where rows are large. (Read in one go, a file of 500 row
    groups makes Arrow hold on to 400 MB.)
    """
    for group in range(file.metadata.num_row_groups):
        yield from file.iter_batches(rows, row_groups=[group], columns=columns)


@contextmanager
def open_staged(lake: Lake, path: str, dictionaries: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a staged file, whose path is below the lake's filesystem. Raises LakeError if it is gone.

    The columns of `dictionaries` are read as dictionaries.
    """
    try:
        source = lake.filesystem().open_input_file(path)
    except FileNotFoundError as error:
        raise LakeError(
            f"The staged file {path} of the lake at {lake.uri} is gone: another try of this run may have"
            " loaded and removed it. Run the load again; if that says the same, run the import again, which"
            " converts the file anew. Nothing was loaded."
        ) from error
    with source, pq.ParquetFile(source, read_dictionary=list(dictionaries)) as file:
        yield file
