"""The columns of the lake's tables: the events' and those of the tables beside them."""

from __future__ import annotations

import pyarrow as pa

from sluice.event_schema import (
    ASSIGNED_AT_LOAD,
    EVENTS,
    EXPORT_FIELDS,
    EXPORT_KEYS,
    HIDDEN_FIELDS,
    JSON_COLUMNS,
    KEPT_BY_REPLAY,
    ORDER,
    STAGED_EVENTS,
    STAGED_REJECTS,
    STAGED_REPLAY,
    TIMESTAMP,
    UNDOCUMENTED_KEYS,
)

__all__ = [
    "ASSIGNED_AT_LOAD",
    "DEVICES",
    "DUPLICATES",
    "EVENTS",
    "EXPORT_FIELDS",
    "EXPORT_KEYS",
    "HIDDEN_FIELDS",
    "JSON_COLUMNS",
    "KEPT_BY_REPLAY",
    "ORDER",
    "REJECTS",
    "STAGED_EVENTS",
    "STAGED_REJECTS",
    "STAGED_REPLAY",
    "TIMESTAMP",
    "UNDOCUMENTED_KEYS",
    "USERS",
]

# A side table's row counts only if `events` has the commit of that number by that attempt (ADR 1).
_COMMIT_FIELDS = (pa.field("n", pa.int64()), pa.field("attempt", pa.string()))

USERS = pa.schema(
    [
        pa.field("app", pa.int64()),
        pa.field("user_id", pa.string()),
        pa.field("amplitude_id", pa.int64()),
        *_COMMIT_FIELDS,
    ]
)

# A row without device_id says that an Amplitude ID is taken without being the one of a user or of a device:
# replayed rows may bring a user's second one. It is never folded with another.
DEVICES = pa.schema(
    [
        pa.field("app", pa.int64()),
        pa.field("device_id", pa.string()),
        pa.field("amplitude_id", pa.int64()),
        *_COMMIT_FIELDS,
    ]
)

REJECTS = pa.schema(
    [
        pa.field("app", pa.int64()),
        pa.field("source", pa.string()),
        pa.field("bucket", pa.string()),
        pa.field("key", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("field", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("raw", pa.string()),
        pa.field("rejected_at", TIMESTAMP),
        *_COMMIT_FIELDS,
    ]
)

# A sample of the rows that were dropped as duplicates, each beside the row that stayed (`stayed_…`, its
# hidden columns); `columns` has the names, joined by commas, of what differs between the two.
DUPLICATES = pa.schema(
    [
        pa.field("app", pa.int64()),
        pa.field("source", pa.string()),
        pa.field("bucket", pa.string()),
        pa.field("key", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("insert_id", pa.string()),
        pa.field("device_id", pa.string()),
        pa.field("stayed_source", pa.string()),
        pa.field("stayed_object", pa.string()),
        pa.field("stayed_row", pa.int64()),
        pa.field("stayed_uuid", pa.string()),
        pa.field("stayed_loaded_at", TIMESTAMP),
        pa.field("differs", pa.bool_()),
        pa.field("columns", pa.string()),
        pa.field("dropped_at", TIMESTAMP),
        *_COMMIT_FIELDS,
    ]
)
