"""Turning a converted event of the ingestion API's form into a row of the lake (amplitude-spec 6.1, 6.8).

Import keys become export columns by the inverse of amplitude-spec 6.8. Revenue has no column: it goes to the
event's properties under the names that Amplitude's SDKs give it. Any other key is left out and counted by
name (amplitude-spec 4.5).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from sluice import __version__
from sluice.converter import RowError
from sluice.event_schema import STAGED_EVENTS, TIMESTAMP
from sluice.imports.identity import RowNames, dedup_key, device_of_user, id_fault
from sluice.imports.properties import (
    limit_groups,
    limit_plan,
    object_text,
    refuse_operations,
    require_object,
)
from sluice.imports.tally import count_bounded
from sluice.imports.times import EventTimes
from sluice.imports.values import MAX_TEXT, decimal_number, shown, text, truth, whole_number

LIBRARY = f"sluice-s3-import/{__version__}"

# Import key -> export column of the text fields. `library` and `device_type` are not in the API's table, but
# in the vendor's own converter for exported files (amplitude-spec 5.6).
TEXT_COLUMNS = {
    "adid": "adid",
    "app_version": "version_name",
    "carrier": "device_carrier",
    "city": "city",
    "country": "country",
    "device_brand": "device_brand",
    "device_manufacturer": "device_manufacturer",
    "device_model": "device_model",
    "device_type": "device_type",
    "dma": "dma",
    "idfa": "idfa",
    "ip": "ip_address",
    "language": "language",
    "library": "library",
    "os_name": "os_name",
    "os_version": "os_version",
    "partner_id": "partner_id",
    "platform": "platform",
    "region": "region",
    "start_version": "start_version",
}
# Without a column of their own: SDKs put them into the event's properties under these names.
_REVENUE_TEXT = {"currency": "$currency", "productId": "$productId", "revenueType": "$revenueType"}
REVENUE_KEYS = frozenset({"price", "quantity", "revenue", *_REVENUE_TEXT})

HANDLED = frozenset(
    {
        "$skip_user_properties_sync",
        "device_id",
        "event_id",
        "event_properties",
        "event_type",
        "group_properties",
        "groups",
        "insert_id",
        "location_lat",
        "location_lng",
        "paying",
        "plan",
        "session_id",
        "time",
        "user_id",
        "user_properties",
        *REVENUE_KEYS,
    }
)

IDENTIFY = {"$identify": "user_properties", "$groupidentify": "group_properties"}

# The columns that differ from row to row, in the order of a row's cells, with the value of an event that is
# silent about them.
_BLANK: dict[str, Any] = {
    "uuid": None,
    "$insert_id": None,
    "client_event_time": None,
    "event_type": None,
    "user_id": None,
    "device_id": None,
    "event_id": None,
    "session_id": None,
    "location_lat": None,
    "location_lng": None,
    "paying": None,
    "event_properties": "{}",
    "user_properties": "{}",
    "groups": "{}",
    "group_properties": "{}",
    "plan": "{}",
    **dict.fromkeys(sorted(TEXT_COLUMNS.values())),
    "library": LIBRARY,
    "dedup_hi": None,
    "dedup_lo": None,
    "row": None,
}
# The same in every row. What needs the user's history (start_version, first_event in `data`, paying after the
# first revenue) is null here until profiles of users exist.
_CONSTANT = {"data": "{}", "data_type": "event"}
_SAME = _BLANK | _CONSTANT
_PLACE = {name: place for place, name in enumerate(_BLANK)}
_PROPERTY_PLACES = [_PLACE[name] for name, blank in _BLANK.items() if blank == "{}"]
_TEXT_PLACES = {key: _PLACE[column] for key, column in TEXT_COLUMNS.items()}

Cells = list[Any]


class EventBuilder:
    """Makes the lake's row of each event of one file; `notes` counts what it left out or changed."""

    def __init__(self, names: RowNames, times: EventTimes) -> None:
        self._names = names
        self._times = times
        self._template = list(_BLANK.values())
        self.ignored_fields: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    def cells(self, row: int, event: dict[str, Any]) -> Cells:
        """Return the row's cells in the order of the columns that differ. Raises RowError."""
        cells = self._template.copy()
        revenue = False
        for key, value in event.items():
            if value is None:
                continue
            place = _TEXT_PLACES.get(key)
            if place is not None:
                cells[place] = value if type(value) is str and value.isascii() else text(key, value)
            elif key in REVENUE_KEYS:
                revenue = True
            elif key not in HANDLED:
                count_bounded(self.ignored_fields, key)
        if event.get("ip") == "$remote":
            # The sender's address: a file has none.
            cells[_PLACE["ip_address"]] = None
        self._put_identity(cells, row, event)
        cells[_PLACE["client_event_time"]] = self._times.event_time(event.get("time"))
        self._put_numbers(cells, event)
        self._put_properties(cells, event, revenue)
        return cells

    def _put_identity(self, cells: Cells, row: int, event: dict[str, Any]) -> None:
        kind = event.get("event_type")
        kind = "" if kind is None else text("event_type", kind)
        if not kind.strip():
            raise RowError("event_type", "is missing")
        if kind in IDENTIFY:
            raise RowError(
                "event_type",
                f"{kind} rows are imported with the data type {IDENTIFY[kind]}, which comes with a later"
                " version; this source imports events only",
            )
        user_id, device_id = self._id("user_id", event), self._id("device_id", event)
        if user_id is not None:
            user_id = self._cut("user_id", user_id)
            if device_id is None:
                device_id = device_of_user(user_id)
        elif device_id is None:
            raise RowError(
                "user_id",
                f"neither user_id ({shown(event.get('user_id'))}) nor device_id"
                f" ({shown(event.get('device_id'))}) is an id of at least 5 characters",
            )
        given = event.get("insert_id")
        insert_id = (
            text("insert_id", given) if given is not None and given != "" else self._names.insert_id(row)
        )
        place = _PLACE
        cells[place["uuid"]] = self._names.uuid(row)
        cells[place["$insert_id"]] = insert_id
        cells[place["event_type"]] = self._cut("event_type", kind)
        cells[place["user_id"]] = user_id
        cells[place["device_id"]] = device_id
        cells[place["dedup_hi"]], cells[place["dedup_lo"]] = dedup_key(device_id, insert_id)
        cells[place["row"]] = row

    def _id(self, field: str, event: dict[str, Any]) -> str | None:
        value = event.get(field)
        if value is None:
            return None
        value = text(field, value)
        fault = id_fault(value)
        if fault is None:
            return value
        self.notes[f"{field}: removed, it {fault}"] += 1
        return None

    def _cut(self, field: str, value: str) -> str:
        if len(value) <= MAX_TEXT:
            return value
        self.notes[f"{field}: values cut to {MAX_TEXT:,} characters"] += 1
        return value[:MAX_TEXT]

    def _put_numbers(self, cells: Cells, event: dict[str, Any]) -> None:
        for key in ("event_id", "session_id"):
            if (value := event.get(key)) is not None and value != "":
                cells[_PLACE[key]] = whole_number(key, value)
        for key in ("location_lat", "location_lng"):
            if (value := event.get(key)) is not None and value != "":
                cells[_PLACE[key]] = decimal_number(key, value)
        if (value := event.get("paying")) is not None and value != "":
            # An export has true or nothing (amplitude-spec 1.3).
            cells[_PLACE["paying"]] = truth("paying", value) or None

    def _put_properties(self, cells: Cells, event: dict[str, Any], revenue: bool) -> None:
        properties = event.get("event_properties")
        if properties is not None:
            properties = require_object("event_properties", properties)
        if revenue:
            amounts, paid = _revenue(event)
            properties = amounts | (properties or {})
            if paid:
                cells[_PLACE["paying"]] = True
        if properties:
            cells[_PLACE["event_properties"]] = object_text("event_properties", properties, self.notes)
        if (value := event.get("user_properties")) is not None:
            refuse_operations("user_properties", require_object("user_properties", value))
            cells[_PLACE["user_properties"]] = object_text("user_properties", value, self.notes)
        if (value := event.get("groups")) is not None:
            groups = limit_groups(require_object("groups", value), self.notes)
            cells[_PLACE["groups"]] = object_text("groups", groups, self.notes)
        if (value := event.get("group_properties")) is not None:
            refuse_operations("group_properties", require_object("group_properties", value))
            cells[_PLACE["group_properties"]] = object_text("group_properties", value, self.notes)
        if (value := event.get("plan")) is not None:
            plan = limit_plan(require_object("plan", value), self.notes)
            cells[_PLACE["plan"]] = object_text("plan", plan, self.notes)


def _revenue(event: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the revenue fields as event properties, and whether the row earns money (amplitude-spec 6.1)."""
    amounts: dict[str, Any] = {}
    values = {key: event[key] for key in REVENUE_KEYS if event.get(key) not in (None, "")}
    if "price" in values:
        amounts["$price"] = decimal_number("price", values["price"])
    if "quantity" in values:
        amounts["$quantity"] = whole_number("quantity", values["quantity"])
    if "revenue" in values:
        amounts["$revenue"] = decimal_number("revenue", values["revenue"])
    for key, name in _REVENUE_TEXT.items():
        if key in values:
            amounts[name] = text(key, values[key])
    earned = amounts.get("$revenue", 0.0)
    if "$price" in amounts:
        earned = amounts["$price"] * amounts.get("$quantity", 1)
        if "$quantity" in amounts and "$revenue" in amounts:
            amounts["$revenue"] = earned
    return amounts, earned > 0


def property_chars(cells: Cells) -> int:
    """Return how many characters a row's dictionary fields have: they are what makes a row large."""
    return sum(len(cells[place]) for place in _PROPERTY_PLACES)


def event_batch(rows: list[Cells], times: EventTimes) -> pa.RecordBatch:
    """Return the rows as a batch of STAGED_EVENTS; see `complete_batch`."""
    columns: dict[str, pa.Array] = {}
    for name, values in zip(_BLANK, zip(*rows, strict=True), strict=True):
        kind = STAGED_EVENTS.field(name).type
        if kind == TIMESTAMP:
            columns[name] = pa.array(values, pa.int64()).view(TIMESTAMP)
        else:
            columns[name] = pa.array(values, kind)
    return complete_batch(columns, len(rows), times)


def complete_batch(columns: dict[str, pa.Array], count: int, times: EventTimes) -> pa.RecordBatch:
    """Return a batch of STAGED_EVENTS of the columns that differ from row to row, or some of them.

    Server times and what the load assigns are absent; the 60-second rule leaves event_time as it is, because
    client_upload_time equals server_received_time (decisions E-5, E-21).
    """
    event_time = columns["client_event_time"]
    received = event_time
    if not times.by_event:
        received = pa.repeat(pa.scalar(times.read_at_us, TIMESTAMP), count)
    given = columns | {
        "event_time": event_time,
        "client_upload_time": received,
        "server_received_time": received,
    }
    arrays = []
    for field in STAGED_EVENTS:
        if field.name in given:
            arrays.append(given[field.name])
        elif (value := _SAME.get(field.name)) is not None:
            arrays.append(pa.repeat(pa.scalar(value, field.type), count))
        else:
            arrays.append(pa.nulls(count, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=STAGED_EVENTS)
