"""The columns of an event's row, in the lake and on its way there.

An event row has the 55 keys of an exported line (amplitude-spec 1.3), typed, and hidden columns that are
never exported as such. Dictionary fields are kept as validated JSON text, which every engine can read and
which survives a round trip unchanged.

It stands beside the lake, not in it: the processes that convert a large file need these columns, and a third
of the memory that the lake's engines take.
"""

from __future__ import annotations

import pyarrow as pa

from sluice.event_columns import EVENT_COLUMNS, Kind

TIMESTAMP = pa.timestamp("us", tz="UTC")

# The keys of an exported line in their order (amplitude-spec 1.3).
EXPORT_KEYS = tuple(EVENT_COLUMNS)

# Keys that an exported line writes as JSON, not as a string. The lake holds their JSON text.
JSON_COLUMNS = frozenset(key for key, kind in EVENT_COLUMNS.items() if kind == "json")
# Those of them whose JSON is an object, always (amplitude-spec 1.3); the others may be anything.
OBJECT_COLUMNS = frozenset(
    {
        "data",
        "event_properties",
        "global_user_properties",
        "group_properties",
        "groups",
        "plan",
        "user_properties",
    }
)

# The 7 keys that only real rows have; the documented 48 are the others (amplitude-spec 1.3, decisions E-18).
UNDOCUMENTED_KEYS = frozenset(
    {
        "$insert_key",
        "data_type",
        "global_user_properties",
        "partner_id",
        "plan",
        "source_id",
        "user_creation_time",
    }
)


_TYPES: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "decimal": pa.float64(),
    "boolean": pa.bool_(),
    "time": TIMESTAMP,
    "json": pa.string(),
}

EXPORT_FIELDS = tuple(pa.field(key, _TYPES[kind]) for key, kind in EVENT_COLUMNS.items())

HIDDEN_FIELDS = (
    # Partition column: the UTC date of server_upload_time.
    pa.field("upload_date", pa.date32()),
    # The load's instant, always; the 7-day dedup window looks at it (ADR 1).
    pa.field("loaded_at", TIMESTAMP),
    # The row's place in its load: it makes ORDER a total order of a project's rows.
    pa.field("seq", pa.int64()),
    # 0 at load, raised by each change of the row.
    pa.field("revision", pa.int32()),
    # The two halves of the 128-bit hash of (device_id, insert_id).
    pa.field("dedup_hi", pa.int64()),
    pa.field("dedup_lo", pa.int64()),
    # JSON text of keys that a replayed row has beyond the 55; they are exported.
    pa.field("extra", pa.string()),
    # Where the row comes from: the import source's id, `s3://bucket/key` of its file, and the row's number
    # in that file, from 0.
    pa.field("source", pa.string()),
    pa.field("object", pa.string()),
    pa.field("row", pa.int64()),
)

EVENTS = pa.schema([*EXPORT_FIELDS, *HIDDEN_FIELDS])

# The columns of the total order of a project's rows.
ORDER = ("server_upload_time", "loaded_at", "seq")

# What a load gives to a row; everything else of EVENTS is there when rows are staged.
ASSIGNED_AT_LOAD = frozenset(
    {
        "amplitude_id",
        "app",
        "processed_time",
        "server_upload_time",
        "upload_date",
        "loaded_at",
        "seq",
        "revision",
        "source",
        "object",
    }
)

# Rows as the import stages them: the event without what the load assigns. A staged file holds one source
# file's rows in their order.
STAGED_EVENTS = pa.schema([field for field in EVENTS if field.name not in ASSIGNED_AT_LOAD])

# What rows in export form bring with them; the project is checked, so the load gives it to them as well.
KEPT_BY_REPLAY = frozenset({"amplitude_id", "processed_time", "server_upload_time"})

# Rows that are replayed, as the import stages them: with the ids and the times that they had.
STAGED_REPLAY = pa.schema([field for field in EVENTS if field.name not in ASSIGNED_AT_LOAD - KEPT_BY_REPLAY])

# Rejected rows as the import stages them.
STAGED_REJECTS = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("field", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("raw", pa.string()),
    ]
)
