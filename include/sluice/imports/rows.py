"""The row pipeline: every row of a file gets one fate (invariant 6).

A row becomes an event that waits for the load, is ignored by the converter's flag, or is rejected with its
number, field, reason and raw text. Whether an event is a duplicate is the load's to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sluice.converter import Converter, RowError
from sluice.imports.blocks import Block, BlockBuilder, Reject
from sluice.imports.events import Cells, EventBuilder
from sluice.imports.identity import RowNames
from sluice.imports.records import BadRow, Piece, Record, RowReader
from sluice.imports.tally import Tally
from sluice.imports.taxonomy import TaxonomyCheck
from sluice.imports.times import EventTimes
from sluice.imports.values import printable


class RowPipeline:
    """Turns the rows of one file into events and rejects, in their order.

    It can be pickled, and knows nothing of the pieces before: any process may take any piece of the file.
    """

    def __init__(
        self,
        converter: Converter,
        names: RowNames,
        times: EventTimes,
        taxonomy: TaxonomyCheck | None = None,
    ) -> None:
        self.tally = Tally()
        self.builder = EventBuilder(names, times)
        self._converter = converter
        self._names = names
        self._times = times
        self._taxonomy = taxonomy
        # Generated fields show only where the converter asks for them by name, never over a field of the
        # source (decisions I-3): a converter that takes all other columns must not find them there.
        self._generated = [name for name in ("insert_id", "_offset") if name in converter.usage.fields]
        self._clock_ms = times.read_at_us // 1000

    def block(self, first: int, piece: Piece) -> Block:
        """Convert one piece, whose first row has the number `first` in the file."""
        self.tally = Tally()
        self.builder.ignored_fields = self.tally.ignored_fields
        self.builder.notes = self.tally.notes
        self._times.hours = self.tally.hours
        rows = BlockBuilder(self._times)
        for row in self(piece.reader(), first):
            rows.add(row)
        return rows.block(self.tally)

    def __call__(self, reader: RowReader, first: int = 0) -> Iterator[Cells | Reject]:
        """Yield each row's cells or its reject; ignored rows are only counted."""
        tally, convert, build = self.tally, self.convert, self.builder.cells
        for row, record in enumerate(reader, first):
            tally.read += 1
            if isinstance(record, BadRow):
                yield self._reject(row, None, record.reason, reader)
                continue
            try:
                event = convert(row, record)
                if event is None:
                    tally.ignored += 1
                    continue
                cells = build(row, event)
            except RowError as error:
                yield self._reject(row, error.field or None, error.reason, reader)
            else:
                yield cells

    def convert(self, row: int, record: Record) -> dict[str, Any] | None:
        """Return a row's event as the converter gives it, None if it is ignored.

        Raises RowError for a row that cannot be converted, or that the project's taxonomy rejects.
        """
        for name in self._generated:
            record.setdefault(name, self._names.insert_id(row) if name == "insert_id" else None)
        event = self._converter.convert(record, clock_ms=self._clock_ms)
        if event is not None and self._taxonomy is not None:
            self._taxonomy.check(event, self.tally.unplanned)
        return event

    def _reject(self, row: int, field: str | None, reason: str, reader: RowReader) -> Reject:
        self.tally.reject(field, reason)
        return Reject(row, field and printable(field), printable(reason), printable(reader.raw()))
