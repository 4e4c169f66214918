"""Opens what the import has staged below the lake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow.parquet as pq

from sluice.lake.store import Lake, LakeError


@contextmanager
def open_staged(lake: Lake, path: str) -> Iterator[pq.ParquetFile]:
    """Open a staged file, whose path is below the lake's filesystem. Raises LakeError if it is gone."""
    try:
        source = lake.filesystem().open_input_file(path)
    except FileNotFoundError as error:
        raise LakeError(
            f"The staged file {path} of the lake at {lake.uri} is gone: another try of this run may have"
            " loaded and removed it. Run the load again; if that says the same, run the import again, which"
            " converts the file anew. Nothing was loaded."
        ) from error
    with source, pq.ParquetFile(source) as file:
        yield file
