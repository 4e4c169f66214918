"""Rows that are already in export form: Amplitude's own export files, and Sluice's in both dialects.

They keep their uuid, their Amplitude ID and all their times; nothing is stamped anew. What they have beyond
the 55 keys is kept in `extra`, which exports write again. Whether a uuid is in the lake already, and whether
an Amplitude ID is another user's there, is the load's to say (sluice.lake.replay).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.converter import RowError
from sluice.converter.jsontext import parse
from sluice.event_columns import EVENT_COLUMNS
from sluice.event_schema import STAGED_REPLAY, TIMESTAMP
from sluice.imports import replay_columns as columns
from sluice.imports.blocks import Block, Reject, reject_batch
from sluice.imports.identity import dedup_keys, device_of_user, id_fault
from sluice.imports.json_rows import MAX_LINE_BYTES, JsonPiece, raw_text
from sluice.imports.records import Piece
from sluice.imports.replay_columns import Faults
from sluice.imports.replay_line import Values, read_line, read_lines
from sluice.imports.tally import Tally, count_bounded
from sluice.imports.values import MAX_TEXT, printable

_HOUR_US = 3_600_000_000
_PIECE_BYTES = 4 << 20

_EXPORT_NAME = re.compile(r"(?:.*/)?[0-9]+_([0-9]{4}-[0-9]{2}-[0-9]{2})_([0-9]{1,2})#([0-9]+)\.json\.gz")


def export_order(key: str) -> tuple[str, int, int, str]:
    """Return where a file belongs among exported files: by hour and partition, whatever its name sorts as.

    So rows of one instant keep their order over the files of their hour. Files of other names come first.
    """
    if found := _EXPORT_NAME.fullmatch(key):
        return found[1], int(found[2]), int(found[3]), key
    return "", 0, 0, key


def joined(pieces: Iterable[tuple[int, Piece]]) -> Iterator[tuple[int, Piece]]:
    """Join pieces of JSON lines that follow each other to some megabytes each.

    A row costs a fifth less so: what is done by the column costs as much for few rows as for many.
    """
    held: list[JsonPiece] = []
    start = size = 0
    for first, piece in pieces:
        assert isinstance(piece, JsonPiece)
        if not held:
            start = first
        held.append(piece)
        size += len(piece.text)
        if size >= _PIECE_BYTES:
            yield start, _one(held)
            held, size = [], 0
    if held:
        yield start, _one(held)


def _one(pieces: Sequence[JsonPiece]) -> JsonPiece:
    text = b"\n".join(piece.text for piece in pieces)
    return JsonPiece(text, sum(piece.count for piece in pieces), pieces[0].transcoded)


class ReplayPipeline:
    """Turns the lines of one file into staged rows and rejects.

    `read_at` is when the file is read, by the ledger's clock: a row of the future is rejected, for nobody can
    have taken it in yet. It can be pickled, and any process may take any piece of the file.
    """

    def __init__(self, project: int, read_at: datetime) -> None:
        self._project = project
        self._read_at = read_at

    def block(self, first: int, piece: Piece) -> Block:
        """Convert one piece of JSON lines, whose first row has the number `first` in the file."""
        assert isinstance(piece, JsonPiece)
        lines = piece.lines()
        tally = Tally(read=piece.count)
        rows, refused = self.rows(lines, first, tally)
        rejects = []
        for place, error in sorted(refused.items()):
            field = error.field or None
            tally.reject(field, error.reason)
            raw = printable(raw_text(lines[place]))
            rejects.append(Reject(first + place, field and printable(field), printable(error.reason), raw))
        return Block([rows] if rows.num_rows else [], [reject_batch(rejects)] if rejects else [], tally)

    def faults(self, first: int, piece: Piece) -> dict[int, RowError]:
        """Say, by place in a piece, why its bad rows are."""
        assert isinstance(piece, JsonPiece)
        return self.rows(piece.lines(), first, Tally())[1]

    def rows(
        self, lines: Sequence[bytes], first: int, tally: Tally
    ) -> tuple[pa.RecordBatch, dict[int, RowError]]:
        """Return the good rows as STAGED_REPLAY, and by place in `lines` why each other row is refused.

        Counts the rows' hours and the keys beyond the 55 in `tally`.
        """
        values, extras, places, refused = self._read(lines)
        faults = Faults()
        found = self._columns([lines[place] for place in places], values, faults)
        found["row"] = pa.array(np.asarray(places, dtype=np.int64) + first)
        found["extra"] = (
            pa.array(map(extras.get, places), pa.string()) if extras else pa.nulls(len(places), pa.string())
        )
        batch = pa.RecordBatch.from_arrays(
            [found[name] for name in STAGED_REPLAY.names], schema=STAGED_REPLAY
        )
        if faults.by_row:
            refused |= {places[row]: error for row, error in faults.by_row.items()}
            good = np.ones(len(places), dtype=bool)
            good[list(faults.by_row)] = False
            batch = batch.filter(pa.array(good))
        moments = batch.column("server_upload_time").cast(pa.int64()).to_numpy()
        tally.hours.update(np.unique(moments // _HOUR_US).tolist())
        for place, text in extras.items():
            if place not in refused:
                for key in cast(dict[str, Any], parse(text)):
                    count_bounded(tally.notes, f"{key}: beyond the 55 keys, kept")
        return batch, refused

    def _read(
        self, lines: Sequence[bytes]
    ) -> tuple[list[Values], dict[int, str], list[int], dict[int, RowError]]:
        if max(map(len, lines), default=0) <= MAX_LINE_BYTES:
            plain = read_lines(lines)
            if plain is not None:
                return plain, {}, list(range(len(lines))), {}
        values: list[Values] = []
        extras: dict[int, str] = {}
        places: list[int] = []
        refused: dict[int, RowError] = {}
        for place, line in enumerate(lines):
            try:
                if len(line) > MAX_LINE_BYTES:
                    raise RowError("", f"a line is longer than {MAX_LINE_BYTES:,} bytes")
                row, extra = read_line(line)
            except RowError as error:
                refused[place] = error
                continue
            values.append(row)
            places.append(place)
            if extra is not None:
                extras[place] = extra
        return values, extras, places, refused

    def _columns(self, lines: Sequence[bytes], rows: Sequence[Values], faults: Faults) -> dict[str, pa.Array]:
        by_key: dict[str, Sequence[Any]] = dict(
            zip(EVENT_COLUMNS, zip(*rows, strict=True) if rows else [()] * len(EVENT_COLUMNS), strict=True)
        )
        found = {"uuid": columns.uuid_column(by_key["uuid"], faults)}
        self._require_project(by_key["app"], faults)
        moments: list[tuple[Sequence[Any], pa.Array]] = []
        for key, kind in EVENT_COLUMNS.items():
            values = by_key[key]
            if kind == "text" and key != "uuid":
                found[key] = columns.text_column(values)
            elif kind == "integer":
                found[key] = columns.integer_column(key, values, faults)
            elif kind == "decimal":
                found[key] = columns.decimal_column(key, values, lines, faults)
            elif kind == "boolean":
                found[key] = columns.boolean_column(values)
            elif kind == "time":
                # Several times of a row are often one.
                same = next((column for known, column in moments if known == values), None)
                found[key] = columns.time_column(key, values, faults) if same is None else same
                moments.append((values, found[key]))
            elif kind == "json":
                found[key] = columns.json_column(key, values, faults)
        for key in ("amplitude_id", "server_upload_time"):
            faults.add_all(found[key].is_null(), key, lambda row: "is missing")
        self._refuse_future(found["server_upload_time"], by_key["server_upload_time"], faults)
        high, low = _dedup_columns(by_key["device_id"], by_key["user_id"], by_key["$insert_id"])
        return found | {"dedup_hi": high, "dedup_lo": low}

    def _require_project(self, apps: Sequence[int | None], faults: Faults) -> None:
        project = self._project
        if apps.count(project) == len(apps):
            return
        for row, app in enumerate(apps):
            if app != project:
                reason = (
                    "is missing"
                    if app is None
                    else f"is {app}, another project than the source's, {project}; give each project its own"
                    " source"
                )
                faults.add(row, "app", reason)

    def _refuse_future(self, moments: pa.Array, texts: Sequence[str | None], faults: Faults) -> None:
        faults.add_all(
            pc.greater(moments, pa.scalar(self._read_at, TIMESTAMP)),
            "server_upload_time",
            lambda row: (
                f"{texts[row]} lies after {self._read_at:%Y-%m-%d %H:%M:%S} UTC, when the file was read: its"
                " hour is still to come"
            ),
        )


def _dedup_columns(
    devices: Sequence[str | None], users: Sequence[str | None], insert_ids: Sequence[str | None]
) -> tuple[pa.Array, pa.Array]:
    """Return the halves of the key that the same event would have if it were imported (decisions I-5).

    So an append of the same event within 7 days of the replay is a duplicate. A row without insert id, or
    without device and user, has none.
    """
    ids = {device: device if id_fault(device) is None else None for device in set(devices) - {None}}
    owners = [
        ids.get(device) or (device_of_user(user[:MAX_TEXT]) if user and id_fault(user) is None else None)
        for device, user in zip(devices, users, strict=True)
    ]
    high, low = dedup_keys(owners, [insert_id or "" for insert_id in insert_ids])
    absent = np.asarray(
        [not (owner and insert_id) for owner, insert_id in zip(owners, insert_ids, strict=True)], dtype=bool
    )
    return pa.array(high, mask=absent), pa.array(low, mask=absent)
