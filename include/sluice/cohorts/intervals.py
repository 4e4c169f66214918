"""Who was in a cohort at a synced time, from intervals: no snapshot is kept.

Each delivered turn's exits say since when who left had been in; the newest members say it of those who are
still in. A member is in from the turn that let them in up to the turn that let them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from sluice.cohorts.list_files import AMPLITUDE_ID, EXITING, KEY_FIELDS, MEMBERS, SINCE, SINCE_FIELD, VALUE
from sluice.errors import SluiceError
from sluice.lake import Lake
from sluice.ledger import Ledger, syncs
from sluice.ledger.syncs import Turn

_SCHEMA = pa.schema([*KEY_FIELDS, SINCE_FIELD])
_COLUMNS = [AMPLITUDE_ID, VALUE]


def synced_turn(ledger: Ledger, cohort: str, at: datetime, sync: str | None = None) -> Turn:
    """Return the delivered turn of a cohort that was the newest at a time (UTC).

    Raises SluiceError if there is none, or if several syncs of the cohort were and none is named.
    """
    turns = syncs.turns(ledger, cohort=cohort, sync=sync, states=["delivered"], kinds=["regular"])
    delivered = [turn for turn in turns if turn.as_of <= at]
    of_whom = f"cohort {cohort}" if sync is None else f"sync {sync} of cohort {cohort}"
    if not delivered:
        raise SluiceError(
            f"The {of_whom} had no delivered sync at {at:%Y-%m-%d %H:%M:%S} UTC: see `sluice cohort history"
            f" {cohort}` for those that there are."
        )
    ids = sorted({turn.sync for turn in delivered})
    if len(ids) > 1:
        raise SluiceError(f"The cohort {cohort} has several syncs: choose one with --sync {' | '.join(ids)}.")
    return max(delivered, key=lambda turn: (turn.as_of, turn.number))


def members_at(lake: Lake, ledger: Ledger, turn: Turn) -> Iterator[pa.RecordBatch]:
    """Give the members as of a delivered turn, as batches of amplitude_id and value.

    Raises SluiceError if the lists that say so are not in the lake any more.
    """
    delivered = syncs.turns(ledger, chain=turn.chain, states=["delivered"], kinds=["regular"])
    newest = max(delivered, key=lambda turn: turn.number)
    files = [
        f"{later.folder}/{EXITING}"
        for later in delivered
        if later.number > turn.number and later.counts["exiting"] > 0
    ]
    files.append(f"{newest.folder}/{MEMBERS}")
    was_in = pc.field(SINCE) <= pa.scalar(turn.as_of, SINCE_FIELD.type)
    try:
        lists = ds.dataset(files, schema=_SCHEMA, format="parquet", filesystem=lake.filesystem())
        for batch in lists.to_batches(columns=_COLUMNS, filter=was_in):
            if len(batch):
                yield batch
    except FileNotFoundError as error:
        raise SluiceError(f"The lists of the {turn.chain} are not all in the lake: {error}") from error
