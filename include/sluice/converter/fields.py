"""The keys that an imported event may have; anything else is ignored (amplitude-spec 4.5, 6.1, 6.4, 6.5)."""

from typing import Final

# fmt: off
HTTP_V2_KEYS: Final = frozenset({
    "user_id", "device_id", "event_type", "user_agent", "time", "event_properties", "user_properties",
    "groups", "group_properties", "$skip_user_properties_sync", "app_version", "platform", "os_name",
    "os_version", "device_brand", "device_manufacturer", "device_model", "carrier", "country", "region",
    "city", "dma",
    "language", "price", "quantity", "revenue", "productId", "revenueType", "currency", "location_lat",
    "location_lng", "ip", "idfa", "idfv", "adid", "android_id", "android_app_set_id", "event_id",
    "session_id", "insert_id", "plan", "partner_id",
})
"""Keys of an event of the HTTP V2 API."""

IDENTIFY_KEYS: Final = frozenset({
    "user_id", "device_id", "user_properties", "groups", "app_version", "platform", "os_name", "os_version",
    "device_brand", "device_manufacturer", "device_model", "carrier", "country", "region", "city", "dma",
    "language", "paying", "start_version",
})
"""Keys of the Identify API."""

IMPORT_KEYS: Final = frozenset({"mutation_type"})
"""Keys that only the S3 import knows."""

EXPORT_KEYS: Final = frozenset({"device_type", "library"})
"""Keys of no API that the vendor's own converter of exported files sets (amplitude-spec 5.6); the import
keeps them.
"""

EVENT_KEYS: Final = HTTP_V2_KEYS | IDENTIFY_KEYS | IMPORT_KEYS
"""Every target field that is not ignored."""

PROPERTY_OPERATIONS: Final = frozenset({
    "$set", "$setOnce", "$add", "$append", "$prepend", "$unset", "$preInsert", "$postInsert", "$remove",
    "$clearAll",
})
"""Property operations."""
# fmt: on
