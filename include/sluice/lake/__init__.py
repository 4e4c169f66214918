"""The lake: Delta tables of events and their side tables, and the load protocol (ADR 1) that guards them."""

from sluice.lake.close import HourNotOver, close_until
from sluice.lake.commits import Counts
from sluice.lake.fingerprint import Fingerprint
from sluice.lake.load import LoadRequest, LoadResult, load
from sluice.lake.projection import closed_until, hour_fingerprint, hour_fingerprints
from sluice.lake.read import EventReader, read_hour
from sluice.lake.staged import StagedFile
from sluice.lake.store import Lake, LakeError

__all__ = [
    "Counts",
    "EventReader",
    "Fingerprint",
    "HourNotOver",
    "Lake",
    "LakeError",
    "LoadRequest",
    "LoadResult",
    "StagedFile",
    "close_until",
    "closed_until",
    "hour_fingerprint",
    "hour_fingerprints",
    "load",
    "read_hour",
]
