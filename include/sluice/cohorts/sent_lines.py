"""The files that really leave: each line counted, and some of them looked at one by one.

Lines are cut as a reader of the format cuts them: a line break between quotes belongs to a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sluice.quality.results import Expectation, Result
from sluice.quality.sample import RowPicker

_BREAK, _QUOTE = ord("\n"), ord('"')
# An amplitude_id is a whole number of 64 bits.
_ID = re.compile(r"-?\d{1,19}")
# A value in quotes, or a name of the header without them.
_CELL = re.compile(r'"((?:[^"]+|"")*)"|([^",\r\n]*)')
_ID_NAMES = (("amplitudeID", "userID"), ("amplitude_id", "user_id"))
# A message of many users is looked at whole, so that a few of them are as many users as rows of a file.
_MIN_MESSAGES = 50

MESSAGE_KEYS = {
    "cohort_name": str,
    "cohort_id": str,
    "in_cohort": bool,
    "computed_time": str,
    "message_id": str,
    "users": list,
}


@dataclass
class SentFile:
    """What a file was found to hold: its first line, its number of lines, and some of them in their order."""

    first: bytes = b""
    lines: int = 0
    picked: list[bytes] = field(default_factory=list)


def read_csv_lines(chunks: Iterable[bytes], picker: RowPicker) -> SentFile:
    """Read a CSV file: its rows are counted and picked, below the header."""
    return _read(_lines(chunks, quoted=True), picker, header=True)


def read_message_lines(chunks: Iterable[bytes], picker: RowPicker) -> SentFile:
    """Read a file of messages, one a line."""
    return _read(_lines(chunks), picker, header=False)


def messages_to_read(messages: int, users: int, sample_rows: int) -> int:
    """Return how many messages name about as many users as `sample_rows` says; never only one or two."""
    if sample_rows == 0:
        return 0
    return max(_MIN_MESSAGES, -(-sample_rows * messages // max(1, users)))


def csv_results(name: str, found: SentFile) -> list[Result]:
    """Judge a CSV file's header, and the form of the rows that were picked.

    The bytes are those of the settings of then: only what every header has is asked.
    """
    header = _cells(found.first.removesuffix(b"\n"))
    right = tuple(header[:2]) in _ID_NAMES and found.first.endswith(b"\n")
    rows = [_cells(line) for line in found.picked]
    return [
        Result(
            Expectation("expect_header_to_name_the_columns", {"file": name}),
            right,
            "exact",
            checked=1,
            unexpected=int(not right),
        ),
        _judged("expect_rows_to_have_all_columns", name, [len(cells) == len(header) for cells in rows]),
        _judged(
            "expect_amplitude_ids_to_be_whole_numbers",
            name,
            [bool(cells) and _ID.fullmatch(cells[0]) is not None for cells in rows],
        ),
    ]


def message_results(name: str, found: SentFile) -> list[Result]:
    """Judge the form of the messages that were picked, and of the users in them."""
    messages = [_object(line) for line in found.picked]
    users = [
        user
        for message in messages
        if message is not None and isinstance(message.get("users"), list)
        for user in message["users"]
    ]
    return [
        _judged("expect_messages_to_have_their_keys", name, [_is_whole(message) for message in messages]),
        _judged("expect_users_to_have_a_user_id", name, [_has_id(user) for user in users]),
    ]


def _judged(type: str, name: str, right: Sequence[bool]) -> Result:
    wrong = len(right) - sum(right)
    return Result(
        Expectation(type, {"file": name}), not wrong, "sample", checked=len(right), unexpected=wrong
    )


def _lines(chunks: Iterable[bytes], *, quoted: bool = False) -> Iterator[tuple[bytes, Any]]:
    """Yield pieces of whole lines, each with the ends of its lines; a last line without its break as well.

    With `quoted`, a break between quotes ends no line.
    """
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        text = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(text == _BREAK)
        if quoted and len(ends):
            # Every line begins outside of quotes, as does the rest that is carried on.
            quotes = (text[: ends[-1] + 1] == _QUOTE).view(np.uint8)
            odd = np.bitwise_xor.reduceat(quotes, np.concatenate(([0], ends[:-1] + 1)))
            ends = ends[np.bitwise_xor.accumulate(odd) == 0]
        whole = int(ends[-1]) + 1 if len(ends) else 0
        rest = data[whole:]
        if whole:
            yield data, ends
    if rest:
        yield rest, np.array([len(rest)])


def _read(pieces: Iterator[tuple[bytes, Any]], picker: RowPicker, *, header: bool) -> SentFile:
    found = SentFile()
    for data, ends in pieces:
        starts = np.concatenate(([0], ends[:-1] + 1))
        if header:
            found.first = data[: int(ends[0]) + 1]
            starts, ends = starts[1:], ends[1:]
            header = False
        for place in picker.pick(found.lines, len(ends)).tolist():
            found.picked.append(data[int(starts[place]) : int(ends[place])])
        found.lines += len(ends)
    return found


def _cells(line: bytes) -> list[str]:
    """Return a line's cells as they stand between the quotes; none where it is not made of cells alone."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return []
    cells = []
    end = -1
    while end < len(text):
        cell = _CELL.match(text, end + 1)
        if cell is None or text[cell.end() : cell.end() + 1] not in (",", ""):
            return []
        cells.append(cell[1] if cell[2] is None else cell[2])
        end = cell.end()
    return cells


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _is_whole(message: dict[str, Any] | None) -> bool:
    return (
        message is not None
        and message.keys() == MESSAGE_KEYS.keys()
        and all(isinstance(message[name], kind) for name, kind in MESSAGE_KEYS.items())
        and bool(message["users"])
        and message["computed_time"].isdecimal()
    )


def _has_id(user: Any) -> bool:
    return (
        isinstance(user, dict)
        and isinstance(user.get("user_id"), str)
        and bool(user["user_id"])
        and isinstance(user.get("user_properties", {}), dict)
    )
