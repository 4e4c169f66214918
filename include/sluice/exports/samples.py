"""A bounded sample of an hour's lines, taken in passing while they are written, for the hour's gate.

Between the task that stages an hour and the one that checks it, the sample lies beside the lake's tables. It
holds events as they leave; nothing but the gate reads it, and it goes when the hour is published or given up.
"""

from __future__ import annotations

import gzip
import logging
from datetime import timedelta

import pyarrow.fs as pafs

from sluice.exports.lines import Lines
from sluice.exports.staged import Content
from sluice.lake import Lake
from sluice.ledger import Ledger, exported
from sluice.quality.sample import RowPicker

log = logging.getLogger(__name__)

FOLDER = "_quality/samples"
# A sample that no staging names is left alone for so long: its hour may be about to be recorded.
_STALE = timedelta(hours=24)
# Samples are small and soon gone: speed counts.
_LEVEL = 1


class LineSample:
    """Takes some of an hour's lines as they go by: the same ones whenever the hour has the same content.

    `lines_to_come` is how many there will be, None if a filter decides it on the way.
    """

    def __init__(self, content: Content, lines_to_come: int | None, sample_rows: int) -> None:
        self._picker = RowPicker(lines_to_come, sample_rows, content.fingerprint.digest)
        self._most = sample_rows
        self._passed = 0
        self._taken: dict[int, bytes] = {}

    def take(self, lines: Lines) -> None:
        """Look at the next lines of the hour."""
        for index in self._picker.pick(self._passed, len(lines)).tolist():
            line = lines.data[int(lines.offsets[index]) : int(lines.offsets[index + 1])]
            self._taken[self._passed + index] = bytes(line)
        self._passed += len(lines)
        if len(self._taken) > 2 * self._most:
            self._thin()

    @property
    def lines(self) -> list[bytes]:
        """The sample of what has gone by."""
        self._thin()
        return list(self._taken.values())

    def _thin(self) -> None:
        positions = list(self._taken)
        kept = self._picker.kept(positions)
        self._taken = {place: self._taken[place] for place, keep in zip(positions, kept, strict=True) if keep}


def write_sample(lake: Lake, destination: str, staging: str, lines: list[bytes]) -> str:
    """Keep a staging's sample beside the lake; return its path below the lake's root."""
    folder = f"{FOLDER}/{destination}"
    path = f"{folder}/{staging}.json.gz"
    filesystem = lake.filesystem()
    filesystem.create_dir(folder)
    with filesystem.open_output_stream(path, compression=None) as stream:
        stream.write(gzip.compress(b"".join(lines), _LEVEL, mtime=0))
    return path


def read_sample(lake: Lake, path: str) -> list[bytes]:
    """Return the lines of a sample. Raises FileNotFoundError if it is gone."""
    with lake.filesystem().open_input_stream(path, compression=None) as stream:
        return gzip.decompress(stream.read()).splitlines(keepends=True)


def remove_sample(lake: Lake, path: str | None) -> None:
    """Remove a sample that is of no more use; one that is gone already is no error."""
    if path is None:
        return
    try:
        lake.filesystem().delete_file(path)
    except OSError as error:
        # Clean-up finds it later; the hour's own work is done.
        if not isinstance(error, FileNotFoundError):
            log.warning("The sample %s could not be removed: %s", path, error)


def remove_left_samples(lake: Lake, ledger: Ledger, destination: str) -> int:
    """Remove samples whose staging is gone, as a killed run leaves them; return how many."""
    named = {staged.get("sample") for staged in exported.all_staged(ledger, destination).values()}
    before = ledger.now() - _STALE
    folder = pafs.FileSelector(f"{FOLDER}/{destination}", allow_not_found=True)
    left = [
        info.path
        for info in lake.filesystem().get_file_info(folder)
        if info.is_file and info.path not in named and info.mtime is not None and info.mtime < before
    ]
    for path in left:
        remove_sample(lake, path)
    return len(left)
