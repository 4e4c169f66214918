"""Writing below the lake's filesystem, which is a folder or a bucket."""

from __future__ import annotations

from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.fs as pafs


def open_output(filesystem: pafs.FileSystem, path: str) -> pa.NativeFile:
    """Open a file for writing; its folder is made only where folders exist, as on S3 it leaves markers."""
    try:
        return filesystem.open_output_stream(path)
    except FileNotFoundError:
        filesystem.create_dir(str(PurePosixPath(path).parent), recursive=True)
        return filesystem.open_output_stream(path)
