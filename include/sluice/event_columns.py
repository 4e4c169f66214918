"""The keys of an exported event in their order, and what each holds (amplitude-spec 1.3).

Plain names, without the weight of Arrow: the configuration is read whenever a DAG file is parsed.
"""

from __future__ import annotations

from typing import Literal

# json: any JSON value, kept as its text.
Kind = Literal["text", "integer", "decimal", "boolean", "time", "json"]

# Alphabetical, `$` first.
EVENT_COLUMNS: dict[str, Kind] = {
    "$insert_id": "text",
    "$insert_key": "json",
    "$schema": "integer",
    "adid": "text",
    "amplitude_attribution_ids": "json",
    "amplitude_event_type": "text",
    "amplitude_id": "integer",
    "app": "integer",
    "city": "text",
    "client_event_time": "time",
    "client_upload_time": "time",
    "country": "text",
    "data": "json",
    "data_type": "text",
    "device_brand": "text",
    "device_carrier": "text",
    "device_family": "text",
    "device_id": "text",
    "device_manufacturer": "text",
    "device_model": "text",
    "device_type": "text",
    "dma": "text",
    "event_id": "integer",
    "event_properties": "json",
    "event_time": "time",
    "event_type": "text",
    "global_user_properties": "json",
    "group_properties": "json",
    "groups": "json",
    "idfa": "text",
    "ip_address": "text",
    "is_attribution_event": "boolean",
    "language": "text",
    "library": "text",
    "location_lat": "decimal",
    "location_lng": "decimal",
    "os_name": "text",
    "os_version": "text",
    "partner_id": "text",
    "paying": "boolean",
    "plan": "json",
    "platform": "text",
    "processed_time": "time",
    "region": "text",
    "sample_rate": "json",
    "server_received_time": "time",
    "server_upload_time": "time",
    "session_id": "integer",
    "source_id": "text",
    "start_version": "text",
    "user_creation_time": "time",
    "user_id": "text",
    "user_properties": "json",
    "uuid": "text",
    "version_name": "text",
}
