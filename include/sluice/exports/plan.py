"""Decides what an export does: which hours, and with each whether it writes (decisions E-11, E-14, E-15)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from sluice.exports.bucket import Bucket, ObjectHead, StoredObject
from sluice.exports.staged import MANIFEST
from sluice.lake import Fingerprint
from sluice.ledger.exported import HourRecord, PublishedFile

HOUR = timedelta(hours=1)

RunKind = Literal["scheduled", "manual", "backfill"]


class HourState(StrEnum):
    """How an hour in the bucket compares with the lake and with what the ledger recorded."""

    MISSING = "missing"  # nothing there
    UNCHANGED = "unchanged"  # content, filter, form and objects are those recorded
    CHANGED = "changed"  # the lake's hour has other content since
    RESHAPED = "reshaped"  # the same content, but filter or form are configured otherwise since
    BROKEN = "broken"  # objects without a marker, or not those recorded
    FOREIGN = "foreign"  # a marker that this destination's ledger does not know; in a plan, any object
    # What only the plan of a range says, of hours that it leaves alone:
    NOT_CLOSED = "not closed"  # not over yet
    OUTSIDE = "outside the lake"  # no events, before the lake's first or after its last
    HELD = "held by a quality gate"  # another run has staged it, and a person has to decide


# The hours that no backfill touches.
SETTLED = frozenset({HourState.UNCHANGED, HourState.NOT_CLOSED, HourState.OUTSIDE, HourState.HELD})


@dataclass(frozen=True)
class HourView:
    """What is in the bucket for one hour: all its objects, and what its markers say of themselves."""

    objects: tuple[StoredObject, ...]
    markers: Mapping[str, ObjectHead]

    @property
    def data(self) -> dict[str, tuple[str, int]]:
        """ETag and size of the data objects by key."""
        return {item.key: (item.etag, item.size) for item in self.objects if item.names.kind == "data"}


@dataclass(frozen=True)
class Wanted:
    """What the hour should be: its content, and the hashes of filter and form; where its marker lies."""

    content: Fingerprint
    filter_hash: str
    config_hash: str
    # None if the destination writes no markers.
    marker_key: str | None


def look(bucket: Bucket, project: int, hour: datetime) -> HourView:
    """List an hour's objects and read its markers' metadata."""
    found = tuple(item for item in bucket.objects(project, [hour.date()]) if item.names.hour == hour)
    return with_markers(bucket, found)


def with_markers(bucket: Bucket, objects: tuple[StoredObject, ...]) -> HourView:
    """Read the metadata of the markers among an hour's objects."""
    heads = {item.key: bucket.head(item.key) for item in objects if item.names.kind == "marker"}
    return HourView(objects, {key: head for key, head in heads.items() if head is not None})


def as_listed(record: HourRecord | None, objects: Iterable[StoredObject]) -> HourView | None:
    """See an hour as its listing shows it, or return None if that does not settle whose its markers are.

    A marker with the recorded ETag is taken for the recorded one. All empty markers have the same; but data
    objects that have their recorded ETags and sizes are the recorded ones, whoever's marker vouches for them.
    Only where a publication was cut short may the metadata say more.
    """
    found = tuple(objects)
    markers = [item for item in found if item.names.kind == "marker"]
    if markers and record is not None and record.staged is not None:
        return None
    heads = {}
    for item in markers:
        ours = record is not None and record.manifest_hash and item.etag == record.marker_etag
        heads[item.key] = ObjectHead(item.etag, {MANIFEST: record.manifest_hash} if ours else {})  # type: ignore[union-attr,dict-item]
    return HourView(found, heads)


def hour_state(
    record: HourRecord | None, files: Iterable[PublishedFile], view: HourView, wanted: Wanted
) -> HourState:
    """Compare an hour's record, its objects and its content.

    An hour counts as exported only if its marker is there and matches the ledger (invariant 3); where no
    markers are written, the ledger's record takes its place (decisions E-3).
    """
    known = record is not None and record.published
    if known and _as_recorded(record, files, view, wanted):
        assert record is not None
        if (record.content_rows, record.content_digest) != (wanted.content.rows, wanted.content.digest):
            return HourState.CHANGED
        if (record.filter_hash, record.config_hash) != (wanted.filter_hash, wanted.config_hash):
            return HourState.RESHAPED
        return HourState.UNCHANGED
    if any(not _recorded_marker(record, head) for head in view.markers.values()):
        return HourState.FOREIGN
    if not view.objects and not known:
        return HourState.MISSING
    return HourState.BROKEN


def writes(state: HourState, kind: RunKind, *, reexport_changed: bool) -> bool:
    """Whether a run of this kind exports an hour in this state (decisions E-11).

    The schedule leaves alone what it has exported unless its content changed and it is told to follow; a
    foreign hour it does not touch either, which is an error that the caller reports.
    """
    if kind == "scheduled":
        return state in (HourState.MISSING, HourState.BROKEN) or (
            state == HourState.CHANGED and reexport_changed
        )
    return state not in SETTLED


def catch_up(
    own: datetime,
    start: datetime,
    catch_up_hours: int,
    exported: Iterable[datetime],
) -> list[datetime]:
    """Return the hours before a scheduled run's own that it exports too, oldest first (decisions E-14).

    They are those of the last `catch_up_hours`, from the destination's start on, that are not exported.
    """
    done = set(exported)
    hour = max(own - catch_up_hours * HOUR, start)
    hours = []
    while hour < own:
        if hour not in done:
            hours.append(hour)
        hour += HOUR
    return hours


def _as_recorded(
    record: HourRecord | None, files: Iterable[PublishedFile], view: HourView, wanted: Wanted
) -> bool:
    if view.data != {file.key: (file.etag, file.bytes) for file in files}:
        return False
    if wanted.marker_key is None:
        # A marker that was written while they were on is recorded in the form's hash, not here.
        return all(_recorded_marker(record, head) for head in view.markers.values())
    return view.markers.keys() == {wanted.marker_key} and _recorded_marker(
        record, view.markers[wanted.marker_key]
    )


def _recorded_marker(record: HourRecord | None, head: ObjectHead) -> bool:
    """Whether a marker is the one that the ledger recorded, or the one that it was about to."""
    if record is None:
        return False
    manifests = {record.manifest_hash} | ({record.staged["manifest"]} if record.staged else set())
    return head.metadata.get(MANIFEST) in manifests - {None}
