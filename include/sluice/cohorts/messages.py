"""The messages of a sync to Kinesis: their exact text and their ids.

Rules: amplitude-spec 3.1, decisions K-5 to K-7 and K-11. The file has one JSON object a line, those of
leaving users first; a line without its line feed is a record's data. Users are written column by column: no
Python object is made of one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol
from uuid import UUID, uuid5

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sluice.cohorts.list_files import VALUE, property_column
from sluice.errors import SluiceError
from sluice.json_check import BadJson, JsonCheck
from sluice.json_columns import doubles, needs_escapes, one_line, quoted
from sluice.ledger.syncs import TurnFile
from sluice.text_columns import Piece, append_pieces, as_string, bounded, offsets

if TYPE_CHECKING:
    from sluice.cohorts.diff import Lists
    from sluice.config.cohort_destinations import KinesisCohortDestination
    from sluice.config.syncs import Sync

MESSAGES = "messages.jsonl"
# Who lost their properties: one column `value`. There only if anybody did.
OVERSIZED = "oversized.parquet"

# Fixed for ever: a message's id must be the same in every try of every version (decisions K-6).
_NAMESPACE = UUID("8d1f5c0e-4b7a-5e36-9c52-6a0de3b1f874")

_ROWS = 65_536
# A dictionary pays while it has at most this share of the rows.
_DICTIONARY_SHARE = 0.25
_TAIL = b"]}\n"


class MessageError(SluiceError):
    """A user cannot be put into a message; the text says which property or limit is the reason."""


class Computed(Protocol):
    """What of a turn is in its messages."""

    @property
    def computed_time(self) -> int:
        """When it was computed, in epoch seconds; later than every earlier one of the sync."""


@dataclass(frozen=True)
class Messages:
    """The file of a turn's messages, whose `rows` are messages, and how many users they name.

    `without_properties` are users whose properties were left out, as they alone are larger than a message
    may be (decisions K-7); they stand in oversized.parquet beside the file. `skipped` are nulls among the
    values (decisions K-11).
    """

    file: TurnFile
    entering: int
    exiting: int
    without_properties: int
    skipped: int


def write_messages(
    lists: Lists, sync: Sync, destination: KinesisCohortDestination, turn: Computed, folder: Path
) -> Messages:
    """Write a turn's messages to `folder`: the same bytes from the same lists and the same turn.

    A message has one direction and at most `max_users` users and `max_message_bytes` bytes; no user is cut
    in two (decisions K-7). Raises MessageError if not even a user's id fits, or if a property is not JSON
    though its column says so.
    """
    path = folder / MESSAGES
    users = _UserEncoder(sync.properties, sync.id)
    with _MessageFile(path, sync, destination, turn.computed_time) as out:
        exiting = out.write(lists.exit_values_path, users, entering=False)
        entering = out.write(lists.enter_values_path, users, entering=True)
    if out.oversized:
        pq.write_table(pa.table({VALUE: pa.array(out.oversized, pa.string())}), folder / OVERSIZED)
    file = TurnFile(MESSAGES, out.messages, out.bytes, out.digest.hexdigest(), sent=True)
    return Messages(file, entering, exiting, len(out.oversized), users.skipped)


def message_ids(sync: Sync, destination: KinesisCohortDestination, computed_time: int) -> str:
    """Return what the ids of a turn's messages begin with (decisions K-6); `::enter::0` and alike follow.

    The destination counts by its name, as a sync's baseline does (decisions K-17).
    """
    parts = [sync.id, destination.name, sync.cohort.id, str(computed_time)]
    return str(uuid5(_NAMESPACE, json.dumps(parts)))


class _MessageFile:
    """Cuts a sequence of encoded users into messages and writes them; counts what it wrote."""

    def __init__(
        self, path: Path, sync: Sync, destination: KinesisCohortDestination, computed_time: int
    ) -> None:
        self._file = path.open("wb")
        self._sync = sync
        self._max_users = destination.max_users
        # The line feed is in the file only.
        self._max_bytes = destination.max_message_bytes + 1
        self._computed_time = computed_time
        self._ids = message_ids(sync, destination, computed_time)
        self.digest = hashlib.sha256()
        self.messages = 0
        self.bytes = 0
        self.oversized: list[str] = []

    def __enter__(self) -> _MessageFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, values: Path, users: _UserEncoder, *, entering: bool) -> int:
        """Write the messages of one direction. Return how many users they name."""
        written = 0
        number = 0
        inside = 0  # users in the message that is open
        room = 0  # bytes that are left in it, the tail counted off
        for batch in users.batches(values):
            text = users.encode(batch)
            starts, data = offsets(text), memoryview(text.buffers()[2])
            row = 0
            while row < len(text):
                if not inside:
                    head = self._head(number, entering)
                    number += 1
                    room = self._max_bytes - len(head) - len(_TAIL)
                    self._put(head)
                # The first user of a message goes without its comma.
                bare = 0 if inside else 1
                fit = int(starts.searchsorted(starts[row] + room + bare, "right")) - 1
                end = min(fit, row + self._max_users - inside)
                if end > row:
                    chunk = data[starts[row] + bare : starts[end]]
                elif inside:
                    self._put(_TAIL)
                    inside = 0
                    continue
                else:
                    end = row + 1
                    chunk = self._alone(users, batch.slice(row, 1), room)
                self._put(chunk)
                room -= len(chunk)
                inside += end - row
                row = end
                if inside == self._max_users:
                    self._put(_TAIL)
                    inside = 0
            written += len(text)
        if inside:
            self._put(_TAIL)
        self.messages += number
        return written

    def _alone(self, users: _UserEncoder, user: pa.RecordBatch, room: int) -> memoryview:
        """Return a user that is too large for a message of its own without properties (decisions K-7)."""
        text = users.encode(user, with_properties=False)
        chunk = memoryview(text.buffers()[2])[1 : offsets(text)[1]]
        if len(chunk) > room:
            size = pc.binary_length(user.column(VALUE))[0].as_py()
            raise MessageError(
                f"The sync {self._sync.id} has a user id of {size} bytes, for which a message of at most"
                f" {self._max_bytes - 1} bytes has no room: keep such ids out of the cohort"
                f" {self._sync.cohort.id}, or raise `max_message_bytes` of the destination"
                f" {self._sync.destination.id}."
            )
        self.oversized.append(user.column(VALUE)[0].as_py())
        return chunk

    def _head(self, number: int, entering: bool) -> bytes:
        fields = {
            "cohort_name": self._sync.cohort.name,
            "cohort_id": self._sync.cohort.id,
            "in_cohort": entering,
            "computed_time": str(self._computed_time),
            "message_id": f"{self._ids}::{'enter' if entering else 'exit'}::{number}",
        }
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        return f'{text[:-1]},"users":['.encode()

    def _put(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self.digest.update(data)
        self.bytes += len(data)


class _UserEncoder:
    """Writes values and their properties as the objects of `users`, each with a comma in front."""

    def __init__(self, properties: Sequence[str], sync_id: str) -> None:
        self._properties = tuple(properties)
        self._sync_id = sync_id
        # Columns that had too many distinct values for a dictionary to pay.
        self._varied: set[str] = set()
        self._json = JsonCheck()
        self.skipped = 0

    def batches(self, values: Path) -> Iterator[pa.RecordBatch]:
        """Read a file of values in its order, in batches that one encoding takes."""
        with pq.ParquetFile(values) as file:
            for batch in file.iter_batches(_ROWS, columns=[VALUE, *map(property_column, self._properties)]):
                missing = batch.column(VALUE).null_count
                if missing:
                    self.skipped += missing
                    batch = batch.filter(batch.column(VALUE).is_valid())
                yield from bounded(batch)

    def encode(self, batch: pa.RecordBatch, *, with_properties: bool = True) -> pa.StringArray:
        """Return `,{"user_id":…,"user_properties":{…}}` of each row; without properties there is no map."""
        pieces: list[Piece] = []
        append_pieces(pieces, [',{"user_id":', *_in_quotes(as_string(batch.column(VALUE)))])
        if with_properties and self._properties:
            before = ',"user_properties":{'
            for name in self._properties:
                append_pieces(pieces, [f"{before}{json.dumps(name, ensure_ascii=False)}:"])
                append_pieces(pieces, self._property(name, batch.column(property_column(name))))
                before = ","
            append_pieces(pieces, ["}"])
        append_pieces(pieces, ["}"])
        return pc.binary_join_element_wise(*pieces, "")

    def _property(self, name: str, column: pa.Array) -> list[Piece]:
        if name not in self._varied:
            encoded = _storage(column).dictionary_encode()
            if len(encoded.dictionary) <= len(column) * _DICTIONARY_SHARE:
                texts = self._values(name, column.type, encoded.dictionary)
                indices = encoded.indices
                if indices.null_count:
                    texts = pa.concat_arrays([texts, pa.array(["null"], texts.type)])
                    indices = indices.fill_null(len(texts) - 1)
                return [texts.take(indices)]
            # A short batch says little about the column.
            if len(column) >= 1_000:
                self._varied.add(name)
        return [self._values(name, column.type, _storage(column))]

    def _values(self, name: str, kind: pa.DataType, column: pa.Array) -> pa.StringArray:
        """Return the JSON text of each value as it is stored; null becomes `null`."""
        if isinstance(kind, pa.JsonType):
            text = self._checked(name, as_string(column))
        elif pa.types.is_boolean(kind):
            text = pc.if_else(column, "true", "false")
        elif pa.types.is_floating(kind):
            text = doubles(column)
        elif pa.types.is_integer(kind):
            text = column.cast(pa.string())
        elif pa.types.is_timestamp(kind):
            # As in exported rows (decisions E-1): `2020-01-25 17:03:11.123000`, in UTC.
            moments = column.cast(pa.timestamp("us", tz=kind.tz)).cast(pa.timestamp("us"))
            text = quoted(moments.cast(pa.string()))
        else:
            text = quoted(as_string(column))
        return text.fill_null("null") if text.null_count else text

    def _checked(self, name: str, text: pa.StringArray) -> pa.StringArray:
        try:
            self._json.check(text)
        except BadJson as error:
            raise MessageError(
                f"The sync {self._sync_id} sends the property {name}, one of whose values is not JSON: let"
                " the cohort's query return it as text (->> instead of ->), or leave such rows out."
            ) from error
        return one_line(text)


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column.type, pa.BaseExtensionType) else column


def _in_quotes(text: pa.StringArray) -> list[Piece]:
    return [quoted(text)] if needs_escapes(text) else ['"', text, '"']
