"""What decides the form of an hour's objects, as hashes that the ledger keeps with each hour."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sluice.config import ExportConfig
from sluice.exports.keys import Layout

# Raised when this program writes the same events in other bytes than before.
_FORMAT = 1
# Everything of a destination that an hour's objects depend on. Its other projects, its connection or its
# owner change nothing: an hour that was exported before they changed is still the same.
_SHAPING = (
    "bucket",
    "prefix",
    "dialect",
    "first_partition",
    "flat_layout",
    "marker",
    "partition_bytes",
    "compression_level",
    "encryption",
    "kms_key",
)


def layout_of(config: ExportConfig) -> Layout:
    """Return where a destination's objects lie."""
    return Layout(config.prefix, config.flat_layout, config.first_partition)


def config_hash(config: ExportConfig) -> str:
    """Return the SHA-256, in hex, of the settings that an hour's objects depend on (invariant 1)."""
    settings = config.as_json()
    return _sha256({"format": _FORMAT} | {name: settings[name] for name in _SHAPING})


def filter_hash(config: ExportConfig) -> str:
    """Return the SHA-256, in hex, of a destination's filter; no filter has one too."""
    return _sha256(config.as_json()["filter"])


def manifest_hash(files: list[dict[str, Any]]) -> str:
    """Return the SHA-256, in hex, of an hour's files: what the marker's metadata vouches for."""
    return _sha256(files)


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
