"""Reads an exported file back from the bucket, as a consumer would, with memory that does not grow."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.json as pa_json
from isal import isal_zlib

from sluice.exports.uuids import Uuids, pack

# Lines that are parsed at once, in bytes.
_BLOCK = 4 << 20
# A line beyond this, in bytes, is no event of ours; without a bound a hostile file would fill the memory.
_MAX_LINE = 256 << 20
_GZIP = 31
_ONLY_UUID = pa_json.ParseOptions(
    explicit_schema=pa.schema([("uuid", pa.string())]), unexpected_field_behavior="ignore"
)


@dataclass
class FileContent:
    """What a file holds: `rows` events, `unreadable` lines, and the SHA-256 of its bytes, in hex.

    `damage` says why it could not be read to its end, empty if it could; that counts as one unreadable too.
    """

    rows: int = 0
    unreadable: int = 0
    bytes: int = 0
    sha256: str = ""
    damage: str = ""


def read_back(blocks: Iterable[bytes], take: Callable[[Uuids], None]) -> FileContent:
    """Read a gzip file of JSON lines, and hand the uuids of its events to `take`.

    Raises what the blocks raise; damage is a result, not an error.
    """
    content = FileContent()
    digest = hashlib.sha256()

    def counted() -> Iterator[bytes]:
        for block in blocks:
            digest.update(block)
            content.bytes += len(block)
            yield block

    source = counted()
    try:
        for lines in _whole_lines(_unpacked(source)):
            _take_events(lines, content, take)
    except _Damaged as damaged:
        content.damage = str(damaged)
        content.unreadable += 1
    for _ in source:
        # The digest is of the whole object, the part behind the damage too.
        pass
    content.sha256 = digest.hexdigest()
    return content


class _Damaged(Exception):
    """The file cannot be read on from here."""


def _unpacked(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack all gzip members, at most a block of text at a time."""
    stream = isal_zlib.decompressobj(_GZIP)
    fed = False
    for block in blocks:
        rest = block
        while rest:
            if stream.eof:
                stream = isal_zlib.decompressobj(_GZIP)
            fed = True
            try:
                text = stream.decompress(rest, _BLOCK)
            except (isal_zlib.IsalError, zlib.error) as error:  # type: ignore[misc]
                raise _Damaged(f"its gzip data are damaged: {error}") from error
            if text:
                yield text
            rest = stream.unused_data if stream.eof else stream.unconsumed_tail
    if not fed:
        raise _Damaged("it is empty")
    if not stream.eof:
        raise _Damaged("its gzip data end too early")


def _whole_lines(texts: Iterator[bytes]) -> Iterator[bytes]:
    """Join and cut a text so that each piece ends with a line."""
    held: list[bytes] = []
    size = 0
    for text in texts:
        end = text.rfind(b"\n") + 1
        if not end:
            held.append(text)
            size += len(text)
            if size > _MAX_LINE:
                raise _Damaged(f"a line is longer than {_MAX_LINE >> 20} MiB")
            continue
        yield b"".join([*held, text[:end]])
        held, size = [text[end:]], len(text) - end
    if size:
        yield b"".join(held)


def _take_events(lines: bytes, content: FileContent, take: Callable[[Uuids], None]) -> None:
    try:
        table = pa_json.read_json(pa.BufferReader(lines), parse_options=_ONLY_UUID)
        uuids = table.column("uuid")
        if uuids.null_count or len(uuids) != lines.count(b"\n") + (not lines.endswith(b"\n")):
            raise pa.ArrowInvalid("an event without uuid, or two in one line")
    except pa.ArrowInvalid:
        # Some line is no event: look at each.
        good = [uuid for line in lines.splitlines() if line.strip() and (uuid := _uuid(line)) is not None]
        content.unreadable += sum(bool(line.strip()) for line in lines.splitlines()) - len(good)
        uuids = pa.chunked_array([pa.array(good, pa.string())])
    content.rows += len(uuids)
    for chunk in uuids.chunks:
        take(pack(chunk))


def _uuid(line: bytes) -> str | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    uuid = event.get("uuid") if isinstance(event, dict) else None
    return uuid if isinstance(uuid, str) else None
