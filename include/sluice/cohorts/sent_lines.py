"""The files that really leave: each line counted, and some of them looked at one by one.

Lines are cut as a reader of the format cuts them: a line break between quotes belongs to a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sluice.quality.results import Expectation, Result
from sluice.quality.sample import RowPicker

_BREAK, _QUOTE = ord("\n"), ord('"')
# An amplitude_id is a whole number of 64 bits.
_ID = re.compile(r"-?\d{1,19}")
# A value in quotes, or a name of the header without them. It never goes back to cut a value in another way.
_CELL = re.compile(r'"((?:[^"]++|"")*+)"|([^",\r\n]*)')
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


@dataclass(frozen=True)
class SentFile:
    """What a file was found to hold: how many lines, how many of them were looked at, what came of it."""

    lines: int
    sampled: int
    results: list[Result]


def read_csv(name: str, chunks: Iterable[bytes], picker: RowPicker) -> SentFile:
    """Read a CSV file: count its rows below the header, and judge the form of those that are picked.

    The bytes are those of the settings of then: of the header only what every header has is asked.
    """
    lines = _Lines(chunks, quoted=True, header=True)
    whole, ids = (
        _Judged("expect_rows_to_have_all_columns"),
        _Judged("expect_amplitude_ids_to_be_whole_numbers"),
    )
    header: list[str] = []
    for line in lines.picked(picker):
        header = header or _cells(lines.first)
        cells = _cells(line)
        whole.add(len(cells) == len(header))
        ids.add(bool(cells) and _ID.fullmatch(cells[0]) is not None)
    right = tuple(_cells(lines.first)[:2]) in _ID_NAMES
    named = Result(
        Expectation("expect_header_to_name_the_columns", {"file": name}),
        right,
        "exact",
        checked=1,
        unexpected=int(not right),
    )
    return SentFile(lines.count, whole.rows, [named, whole.result(name), ids.result(name)])


def read_messages(name: str, chunks: Iterable[bytes], picker: RowPicker) -> SentFile:
    """Read a file of messages, one a line: count them, and judge those that are picked and their users."""
    lines = _Lines(chunks)
    whole, ids = _Judged("expect_messages_to_have_their_keys"), _Judged("expect_users_to_have_a_user_id")
    for line in lines.picked(picker):
        message = _object(line)
        whole.add(_is_whole(message))
        users = message.get("users") if message is not None else None
        for user in users if isinstance(users, list) else ():
            ids.add(_has_id(user))
    return SentFile(lines.count, whole.rows, [whole.result(name), ids.result(name)])


def messages_to_read(messages: int, users: int, sample_rows: int) -> int:
    """Return how many messages name about as many users as `sample_rows` says; never only one or two."""
    if sample_rows == 0:
        return 0
    return max(_MIN_MESSAGES, -(-sample_rows * messages // max(1, users)))


@dataclass
class _Judged:
    """How many rows were judged by an expectation, and how many of them failed."""

    type: str
    rows: int = 0
    wrong: int = 0

    def add(self, right: bool) -> None:
        self.rows += 1
        self.wrong += not right

    def result(self, name: str) -> Result:
        return Result(
            Expectation(self.type, {"file": name}),
            not self.wrong,
            "sample",
            checked=self.rows,
            unexpected=self.wrong,
        )


class _Lines:
    """The lines of a file while it streams by, without their breaks; `first` is the header, if it has one.

    `count` says how many others have streamed by.
    """

    def __init__(self, chunks: Iterable[bytes], *, quoted: bool = False, header: bool = False) -> None:
        self._pieces = _pieces(chunks, quoted)
        self._header = header
        self.first = b""
        self.count = 0

    def picked(self, picker: RowPicker) -> Iterator[bytes]:
        """Give the lines that are picked, and count all."""
        for data, ends in self._pieces:
            starts = np.concatenate(([0], ends[:-1] + 1))
            if self._header:
                self._header = False
                self.first = data[: int(ends[0])]
                starts, ends = starts[1:], ends[1:]
            for place in picker.pick(self.count, len(ends)).tolist():
                yield data[int(starts[place]) : int(ends[place])]
            self.count += len(ends)


def _pieces(chunks: Iterable[bytes], quoted: bool) -> Iterator[tuple[bytes, Any]]:
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
