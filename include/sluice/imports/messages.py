"""S3's event notifications as they arrive: hints at keys, in messages that nobody vouches for.

A notification only says where to look. Whatever cannot be one is counted under its reason and ignored: the
object itself, and behind it the sweep, say what is there (decisions I-17).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

# SQS takes no larger message; in an Airflow asset event anything may stand.
_MAX_BODY = 1 << 20
_MAX_KEY_BYTES = 1024
_MAX_RECEIPT = 1024


@dataclass(frozen=True)
class Message:
    """One message of the queue; `receipt` is what deletes it, None if it cannot be deleted."""

    body: Any
    receipt: str | None = None


@dataclass
class Hints:
    """The keys that messages name, each once, and how many records were ignored, by reason."""

    keys: dict[str, None] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)


def rung_messages(extras: Iterable[object]) -> Iterator[Message]:
    """Yield the messages that the extras of Airflow's asset events hold; what has another form holds none."""
    for extra in extras:
        payload = extra.get("payload") if isinstance(extra, dict) else None
        batch = payload.get("message_batch") if isinstance(payload, dict) else None
        for message in batch if isinstance(batch, list) else []:
            if isinstance(message, dict):
                receipt = message.get("ReceiptHandle")
                usable = isinstance(receipt, str) and 0 < len(receipt) <= _MAX_RECEIPT
                yield Message(message.get("Body"), receipt if usable else None)


def read_hints(messages: Iterable[Message], bucket: str, prefix: str) -> Hints:
    """Return the keys below `prefix` that messages say were created in `bucket`; never raises."""
    hints = Hints()
    for message in messages:
        for record in _records(message.body, hints):
            fault, key = _key(record, bucket, prefix)
            if fault:
                hints.ignored[fault] += 1
            else:
                hints.keys[key] = None
    return hints


def _records(body: object, hints: Hints) -> list[object]:
    if not isinstance(body, str) or len(body) > _MAX_BODY:
        hints.ignored["not a notification"] += 1
        return []
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        hints.ignored["not JSON"] += 1
        return []
    if isinstance(document, dict):
        if isinstance(document.get("Records"), list):
            return list(document["Records"])
        # What S3 sends when notifications are switched on: it names no object.
        if document.get("Event") == "s3:TestEvent":
            hints.ignored["test event"] += 1
            return []
    hints.ignored["not a notification"] += 1
    return []


def _key(record: object, bucket: str, prefix: str) -> tuple[str, str]:
    """Return why a record is ignored, or nothing and the key that it names."""
    event = _at(record, "eventName")
    if not isinstance(event, str):
        return "not a record", ""
    if not event.removeprefix("s3:").startswith("ObjectCreated:"):
        return "another event", ""
    if _at(record, "s3", "bucket", "name") != bucket:
        return "another bucket", ""
    encoded = _at(record, "s3", "object", "key")
    if not isinstance(encoded, str):
        return "not a key", ""
    try:
        # S3 writes keys as in a form: `+` is a blank, `%23` is `#`.
        key = unquote_plus(encoded, errors="strict")
        size = len(key.encode())
    except UnicodeError:
        return "not a key", ""
    # An HTTP library may resolve dots in a path, and would ask for another object than the one that is named.
    if not 0 < size <= _MAX_KEY_BYTES or "\0" in key or {".", ".."} & set(key.split("/")):
        return "not a key", ""
    if not key.startswith(prefix):
        return "outside of the prefix", ""
    return "", key


def _at(value: object, *path: str) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
