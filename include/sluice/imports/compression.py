"""Undoing compression while a file streams, with the setting checked against the bytes (decisions D-19)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from isal import isal_zlib
from isal.igzip_lib import IsalError

from sluice.imports.errors import FileError

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 31
_BLOCK_BYTES = 1 << 20

# Text hardly compresses better than 100 to 1, while deflate can reach 1,032 to 1: a file beyond both marks
# was made to fill a disk.
_BOMB_BYTES = 1 << 30
_BOMB_RATIO = 200


def decompress(blocks: Iterable[bytes], compression: str) -> Iterator[bytes]:
    """Stream a file's content, undoing `compression` (`gzip` or `none`), in blocks of bounded size.

    Raises FileError if the magic bytes contradict the setting, if the stream is broken or ends early, or if
    it expands beyond all measure.
    """
    stream = iter(blocks)
    head = b""
    for block in stream:
        head += block
        if len(head) >= len(_GZIP_MAGIC):
            break
    if not head:
        raise FileError("The object is empty (0 bytes): nothing can be read from it.")
    is_gzip = head.startswith(_GZIP_MAGIC)
    if compression == "gzip":
        if not is_gzip:
            raise FileError(
                "The converter says compressionType gzip, but the file does not begin with gzip's magic bytes"
                " 1f 8b: compress it, or set compressionType to none."
            )
        return _gunzip(chain([head], stream))
    if is_gzip:
        raise FileError(
            "The converter says compressionType none, but the file is gzip (magic bytes 1f 8b):"
            " set compressionType to gzip."
        )
    return chain([head], stream)


def _gunzip(blocks: Iterable[bytes]) -> Iterator[bytes]:
    member = isal_zlib.decompressobj(_GZIP)
    taken = given = 0
    # The empty block at the end draws out what the decoder still holds.
    for block in chain(blocks, [b""]):
        taken += len(block)
        data = block
        while data or not (block or member.eof):
            if member.eof:
                # Members may follow each other, and zeros may pad the end (RFC 1952, gzip's own practice).
                data = data.lstrip(b"\0")
                if not data:
                    break
                member = isal_zlib.decompressobj(_GZIP)
            try:
                output = member.decompress(data, _BLOCK_BYTES)
            except IsalError as error:  # type: ignore[misc]  # isal's stub names no exception
                raise FileError(
                    f"The gzip data is broken after {given:,} uncompressed bytes ({error}):"
                    " the file was damaged or is not gzip throughout; upload it again under a new name."
                ) from error
            given += len(output)
            if given > _BOMB_BYTES and given > _BOMB_RATIO * taken:
                raise FileError(
                    f"The file expands to more than {given:,} bytes, over {_BOMB_RATIO} times its size:"
                    " it is taken for a gzip bomb; split it if its content is meant."
                )
            data = member.unused_data if member.eof else member.unconsumed_tail
            if output:
                yield output
            elif not block:
                break
    if not member.eof:
        raise FileError(
            f"The gzip data ends early, after {given:,} uncompressed bytes: the upload was cut off;"
            " upload the file again under a new name."
        )
