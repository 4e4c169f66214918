"""The Parquet files of a turn's lists: their names and their columns.

members.parquet, entering.parquet and exiting.parquet have `amplitude_id`, `value` (what matches the member
at the destination; may be null), `since` and the properties, ordered by `amplitude_id` and `value`; the
files of values have `value` and the properties.
"""

from __future__ import annotations

import pyarrow as pa

MEMBERS = "members.parquet"
ENTERING = "entering.parquet"
EXITING = "exiting.parquet"
ENTER_VALUES = "enter_values.parquet"
EXIT_VALUES = "exit_values.parquet"
# Who was added, removed and skipped, and why; see row_log.py.
ROW_LOG = "row_log.parquet"

AMPLITUDE_ID = "amplitude_id"
VALUE = "value"
SINCE = "since"
PROPERTY = "property:"
KEY_FIELDS = (
    pa.field(AMPLITUDE_ID, pa.int64(), nullable=False),
    pa.field(VALUE, pa.string()),
)
SINCE_FIELD = pa.field(SINCE, pa.timestamp("us", "UTC"))


def property_column(name: str) -> str:
    """Return the column that holds a property: a property may have any name, `value` or `since` too."""
    return f"{PROPERTY}{name}"
