"""A turn's files in the lake, below `_syncs/<sync>/<computed_time>-<attempt>/`, streamed in both directions.

Only the ledger says which folder belongs to a turn: what lies elsewhere below `_syncs/` is left over from a
try that was ended, and the clean-up takes it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.fs as pafs

from sluice.cohorts.staged_file import StagingError, checked
from sluice.lake import Lake
from sluice.ledger.syncs import Turn, TurnFile

log = logging.getLogger(__name__)

ROOT = "_syncs"
# Read and written at once.
_CHUNK = 4 << 20
# Files that travel at once: most are small, and each costs a round trip.
_AT_ONCE = 4


def folder_of(sync: str, computed_time: int, attempt: int) -> str:
    """Return the folder of a try at a turn; no other try has it."""
    return f"{ROOT}/{sync}/{computed_time}-{attempt}"


def upload(lake: Lake, local: Path, folder: str, files: Sequence[TurnFile]) -> tuple[TurnFile, ...]:
    """Copy files from a local folder to a turn's, and return them with their sizes and checksums."""
    filesystem = lake.filesystem()
    if lake.is_local:
        filesystem.create_dir(folder, recursive=True)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sluice-stage") as executor:
        staged = tuple(executor.map(lambda file: _upload(filesystem, local, folder, file), files))
    log.info("Staged %d files, %s bytes, in %s", len(staged), f"{sum(f.bytes for f in staged):,}", folder)
    return staged


def _upload(filesystem: pafs.FileSystem, local: Path, folder: str, file: TurnFile) -> TurnFile:
    digest = hashlib.sha256()
    size = 0
    with (
        (local / file.name).open("rb") as source,
        filesystem.open_output_stream(f"{folder}/{file.name}") as out,
    ):
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            out.write(chunk)
            size += len(chunk)
    if file.sha256 and (file.sha256, file.bytes) != (digest.hexdigest(), size):
        raise StagingError(f"The file {file.name} changed while it was staged: run the sync again.")
    return TurnFile(file.name, file.rows, size, digest.hexdigest(), file.sent, file.key)


def download(lake: Lake, turn: Turn, name: str, to: Path) -> Path:
    """Copy a turn's file to a local path, and return the path. Raises StagingError unless it is as fixed."""
    file = turn.file(name)
    if file is None:
        raise StagingError(
            f"The turn of the {turn.chain} as of {turn.as_of:%Y-%m-%d %H:%M} UTC has no {name}."
        )
    remedy = (
        f"Restore {turn.folder}/{name} of the lake from a backup, or give the destination a new name, which"
        " begins anew with an empty baseline."
    )
    with to.open("wb") as out:
        for chunk in checked(file, _chunks(lake, turn, name), remedy):
            out.write(chunk)
    return to


def reader(lake: Lake, turn: Turn) -> Callable[[TurnFile], Iterable[bytes]]:
    """Return what streams a turn's staged files."""
    return lambda file: _chunks(lake, turn, file.name)


def remove(lake: Lake, turn: Turn, names: Iterable[str]) -> int:
    """Delete files of a turn; those that are gone already do not matter. Return how many there were."""
    filesystem = lake.filesystem()
    removed = 0
    for name in names:
        try:
            filesystem.delete_file(f"{turn.folder}/{name}")
        except FileNotFoundError:
            continue
        removed += 1
    # An empty folder stays on a disk; on a store Arrow makes an object of it.
    left = pafs.FileSelector(turn.folder, allow_not_found=True)
    if removed and not filesystem.get_file_info(left):
        filesystem.delete_dir(turn.folder)
    return removed


def _chunks(lake: Lake, turn: Turn, name: str) -> Iterator[bytes]:
    path = f"{turn.folder}/{name}"
    try:
        source = lake.filesystem().open_input_stream(path)
    except FileNotFoundError as error:
        raise StagingError(
            f"The file {path} of the lake is gone, so the turn of the {turn.chain} as of"
            f" {turn.as_of:%Y-%m-%d %H:%M} UTC cannot be sent or compared with. Restore it from a backup; if"
            " the next runs miss it as well, give the destination a new name, which begins anew with an empty"
            " baseline."
        ) from error
    with source:
        while chunk := source.read(_CHUNK):
            yield chunk
