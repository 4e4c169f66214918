"""Clears away what imports left behind that never came back: staged rows, claims, leases."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow.fs as pafs

from sluice.imports.held import expire_held_of_all
from sluice.imports.staging import ROOT, run_folder
from sluice.lake import Lake
from sluice.ledger import Ledger, files, leases

log = logging.getLogger(__name__)

# A folder that no file waits for may belong to a run whose worker is about to be heard of again.
_GRACE = timedelta(hours=1)


@dataclass
class Cleared:
    """What was cleared away: folders of runs with their staged files and bytes, claims, leases.

    `expired` is how many files failed because a gate has held them, and nobody decided in time.
    """

    folders: int = 0
    files: int = 0
    bytes: int = 0
    claims: int = 0
    leases: int = 0
    expired: int = 0


@dataclass(frozen=True)
class _Folder:
    path: str
    files: int
    bytes: int
    newest: datetime | None


def clear_left_behind(lake: Lake, ledger: Ledger, retention: timedelta, *, dry_run: bool = False) -> Cleared:
    """Remove the staged rows that no load will read, and the claims and leases of dead workers.

    A run's folder goes if none of its files waits for a load any more, or if it is older than `retention`,
    and never while one of its workers holds a live claim or a quality gate holds it. Files whose claim ran
    out longer ago than `retention` wait again as if they had just been found. What a gate has held for too
    long is given up, whether its source runs again or not. With `dry_run` it only says what it would do.
    """
    now = ledger.now()
    cleared = Cleared()
    if not dry_run:
        cleared.expired = expire_held_of_all(lake, ledger)
        # Before their rows go: a file must not name staged rows that are not there.
        cleared.claims = files.give_up_claims(ledger, now - retention)
        cleared.leases = leases.remove_expired(ledger, now - _GRACE)
    waiting = {run_folder(source, run) for source, run in files.runs_of_staged(ledger)}
    live = {
        run_folder(source, run) for source, run in files.runs_at_work(ledger) | files.runs_of_held(ledger)
    }
    filesystem = lake.filesystem()
    for folder in _folders(filesystem):
        age = now - folder.newest if folder.newest else retention
        if folder.path in live or age < (retention if folder.path in waiting else _GRACE):
            continue
        log.info(
            "%s: %s files, %s bytes, the newest %s old, %s",
            folder.path, folder.files, f"{folder.bytes:,}", age,
            "would be removed" if dry_run else "are removed",
        )  # fmt: skip
        if not dry_run:
            filesystem.delete_dir(folder.path)
        cleared.folders += 1
        cleared.files += folder.files
        cleared.bytes += folder.bytes
    log.info("Left behind by imports: %s", cleared)
    return cleared


def _folders(filesystem: pafs.FileSystem) -> Iterator[_Folder]:
    """Yield the runs' folders of all sources, with what is in them."""
    for source in filesystem.get_file_info(pafs.FileSelector(ROOT, allow_not_found=True)):
        if source.type != pafs.FileType.Directory:
            continue
        for run in filesystem.get_file_info(pafs.FileSelector(source.path, allow_not_found=True)):
            if run.type != pafs.FileType.Directory:
                continue
            found = [
                info
                for info in filesystem.get_file_info(
                    pafs.FileSelector(run.path, recursive=True, allow_not_found=True)
                )
                if info.type == pafs.FileType.File
            ]
            yield _Folder(
                path=run.path,
                files=len(found),
                bytes=sum(info.size or 0 for info in found),
                newest=max((info.mtime for info in found), default=None),
            )
