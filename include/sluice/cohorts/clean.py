"""Takes away files of turns that nothing needs any more: never those of a baseline, a maybe or a live turn.

- What was sent, and the row log, stay `row_log_days`.
- Of a delivered turn the exits stay for ever: they are the intervals. Its other lists go once a later turn
  is delivered.
- The lists of a turn that was given up go once a later one is delivered, or at once if nothing of it left.
- Folders that no turn has are left over from tries that were ended.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow.fs as pafs

from sluice.cohorts.gate import expire_held_of_all
from sluice.cohorts.list_files import EXITING, ROW_LOG
from sluice.cohorts.staging import ROOT, remove
from sluice.config import Config
from sluice.lake import Lake
from sluice.ledger import Ledger, syncs
from sluice.ledger.syncs import Chain, Turn

log = logging.getLogger(__name__)

# For syncs that the configuration no longer has.
_DAYS = 14
# After which a folder that no turn has cannot be a try under way any more.
_TRY_SECONDS = 2 * 86_400


@dataclass(frozen=True)
class Cleaned:
    """How many turns lost their sent bytes, how many their lists, and how many left-over folders went."""

    bytes_of: int = 0
    lists_of: int = 0
    folders: int = 0


def clean(config: Config, lake: Lake, ledger: Ledger, *, dry_run: bool = False) -> Cleaned:
    """Take away what no sync needs any more, or with `dry_run` only count it; once more changes nothing.

    A turn that its gate has held for too long is given up before, whether its sync runs again or not.
    """
    if not dry_run:
        expire_held_of_all(ledger, lake)
    moment = ledger.now()
    days = {sync.id: sync.config.row_log_days for sync in config.syncs}
    bytes_of = lists_of = folders = 0
    chains = [state.chain for state in syncs.chains(ledger)]
    for chain in chains:
        keep = timedelta(days=days.get(chain.sync, _DAYS))
        lists_of += drop_lists(lake, ledger, chain, dry_run=dry_run)
        # Not all turns: a sync of every minute has half a million a year.
        for turn in _old(syncs.turns(ledger, chain=chain, with_bytes=True), moment - keep):
            bytes_of += 1
            if not dry_run:
                remove(lake, turn, [file.name for file in turn.files if file.sent or file.name == ROW_LOG])
                syncs.record_gone(ledger, turn, bytes_gone=True)
    for sync in sorted({chain.sync for chain in chains}):
        folders += _drop_left_over(lake, sync, syncs.folders(ledger, sync), moment, dry_run)
    log.info(
        "Cohort syncs: bytes of %d turns, lists of %d, %d folders %s.",
        *(bytes_of, lists_of, folders),
        "to be taken away" if dry_run else "taken away",
    )
    return Cleaned(bytes_of, lists_of, folders)


def drop_lists(lake: Lake, ledger: Ledger, chain: Chain, *, dry_run: bool = False) -> int:
    """Delete the lists of a chain's turns that a later delivered one has made needless; return how many."""
    turns = syncs.turns(ledger, chain=chain, with_lists=True)
    baseline = max(
        (turn.number for turn in turns if turn.kind == "regular" and turn.state == "delivered"), default=0
    )
    dropped = 0
    for turn in turns:
        passed = turn.number < baseline and turn.state in ("delivered", "superseded", "declined")
        never_left = not turn.sent and turn.state in ("superseded", "declined")
        if not passed and not never_left:
            continue
        kept = EXITING if turn.state == "delivered" and turn.counts["exiting"] else None
        lists = [file.name for file in turn.files if not file.sent and file.name not in (kept, ROW_LOG)]
        dropped += 1
        if not dry_run:
            remove(lake, turn, lists)
            syncs.record_gone(ledger, turn, members_gone=True)
    return dropped


def _old(turns: list[Turn], before: datetime) -> Iterator[Turn]:
    """Give the turns whose bytes have been kept long enough, unless they are being sent again."""
    being_sent = {turn.source for turn in turns if turn.kind == "resend" and turn.is_open}
    for turn in turns:
        over = turn.finished_at is not None and turn.finished_at < before
        if over and turn.kind != "resend" and turn.bytes_gone_at is None and turn.number not in being_sent:
            yield turn


def _drop_left_over(lake: Lake, sync: str, known: set[str], moment: datetime, dry_run: bool) -> int:
    filesystem = lake.filesystem()
    dropped = 0
    for found in filesystem.get_file_info(pafs.FileSelector(f"{ROOT}/{sync}", allow_not_found=True)):
        began, _, _ = found.base_name.partition("-")
        if found.path in known or not began.isdigit() or int(began) > moment.timestamp() - _TRY_SECONDS:
            continue
        dropped += 1
        if not dry_run:
            filesystem.delete_dir(found.path)
    return dropped
