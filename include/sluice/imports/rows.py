"""The row pipeline: every row of a file gets one fate (invariant 6).

A row becomes an event that waits for the load, is ignored by the converter's flag, or is rejected with its
number, field, reason and raw text. Whether an event is a duplicate is the load's to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from itertools import compress, islice
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from sluice.converter import Columns, Converter, RowError
from sluice.imports.blocks import Block, BlockBuilder, Reject
from sluice.imports.columns import EventColumns
from sluice.imports.events import Cells, EventBuilder
from sluice.imports.identity import RowNames
from sluice.imports.records import BadRow, Piece, Record, RowReader
from sluice.imports.streams import in_row_order
from sluice.imports.tally import Tally
from sluice.imports.times import EventTimes
from sluice.imports.values import printable

if TYPE_CHECKING:
    # It brings the configuration's models, which the processes of a large file do without.
    from sluice.imports.taxonomy import TaxonomyCheck

# From this share of special rows on, columns cost more than they save.
_MANY = 0.5
_AT_ONCE = 400


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
        self._columns = EventColumns(names, times)
        # Only an object of fields says before the rows which columns there will be.
        self._by_column = converter.target_fields is not None

    def block(self, first: int, piece: Piece) -> Block:
        """Convert one piece, whose first row has the number `first` in the file."""
        self.tally = Tally()
        self.builder.ignored_fields = self.tally.ignored_fields
        self.builder.notes = self.tally.notes
        self._times.hours = self.tally.hours
        if not self._by_column:
            return self._by_row(first, piece, None)
        batch, odd = self._columns_of(first, piece)
        self.tally.read = piece.count - len(odd)
        if not odd:
            return Block([batch] if batch else [], [], self.tally)
        # Rows with something special are mostly few; if not, the next pieces go row by row at once.
        self._by_column = len(odd) < piece.count * _MANY
        others = self._by_row(first, piece, odd)
        return Block(in_row_order([*([batch] if batch else []), *others.events]), others.rejects, self.tally)

    def _columns_of(self, first: int, piece: Piece) -> tuple[pa.RecordBatch | None, set[int]]:
        """Convert a piece column by column; return the events, and the numbers of the rows not among them."""
        reader = iter(piece.reader())
        found = Columns([], {}, set())
        rows: list[int] = []
        odd: set[int] = set()
        # Few enough to stay in the processor's cache from the parser to the columns.
        while records := list(islice(reader, _AT_ONCE)):
            numbers: Sequence[int] = range(first, first + len(records))
            first += len(records)
            if BadRow in set(map(type, records)):
                bad = [type(record) is BadRow for record in records]
                odd.update(compress(numbers, bad))
                numbers = [row for row, is_bad in zip(numbers, bad, strict=True) if not is_bad]
                records = [record for record, is_bad in zip(records, bad, strict=True) if not is_bad]
            good = cast("list[Record]", records)
            if self._generated:
                for row, record in zip(numbers, good, strict=True):
                    self._generate(row, record)
            part = self._converter.convert_columns(good, clock_ms=self._clock_ms)
            self.tally.ignored += len(good) - len(part.kept)
            rows += [numbers[place] for place in part.kept]
            found.append(part)
        if not rows:
            return None, odd
        if self._taxonomy is not None:
            self._check_taxonomy(self._taxonomy, found)
        batch = self._columns.batch(rows, found.values, found.odd, self.tally)
        return batch, odd.union(rows[place] for place in found.odd)

    def _check_taxonomy(self, taxonomy: TaxonomyCheck, found: Columns) -> None:
        """Call the rows odd of which the taxonomy says something."""
        names = [name for name in taxonomy.FIELDS if name in found.values]
        counts: Counter[str] = Counter()
        for place, values in enumerate(zip(*(found.values[name] for name in names), strict=True)):
            try:
                taxonomy.check(dict(zip(names, values, strict=True)), counts)
            except RowError:
                found.odd.add(place)
            if counts:
                found.odd.add(place)
                counts.clear()

    def _by_row(self, first: int, piece: Piece, wanted: Container[int] | None) -> Block:
        """Convert a piece row by row: all of its rows, or those of the wanted numbers."""
        result = BlockBuilder(self._times)
        reader = piece.reader()
        for row, record in enumerate(reader, first):
            if (wanted is None or row in wanted) and (made := self._row(row, record, reader)) is not None:
                result.add(made)
        return result.block(self.tally)

    def __call__(self, reader: RowReader, first: int = 0) -> Iterator[Cells | Reject]:
        """Yield each row's cells or its reject; ignored rows are only counted."""
        for row, record in enumerate(reader, first):
            if (made := self._row(row, record, reader)) is not None:
                yield made

    def _row(self, row: int, record: Record | BadRow, reader: RowReader) -> Cells | Reject | None:
        self.tally.read += 1
        if isinstance(record, BadRow):
            return self._reject(row, None, record.reason, reader)
        try:
            event = self.convert(row, record)
            if event is None:
                self.tally.ignored += 1
                return None
            return self.builder.cells(row, event)
        except RowError as error:
            return self._reject(row, error.field or None, error.reason, reader)

    def convert(self, row: int, record: Record) -> dict[str, Any] | None:
        """Return a row's event as the converter gives it, None if it is ignored.

        Raises RowError for a row that cannot be converted, or that the project's taxonomy rejects.
        """
        self._generate(row, record)
        event = self._converter.convert(record, clock_ms=self._clock_ms)
        if event is not None and self._taxonomy is not None:
            self._taxonomy.check(event, self.tally.unplanned)
        return event

    def _generate(self, row: int, record: Record) -> None:
        for name in self._generated:
            record.setdefault(name, self._names.insert_id(row) if name == "insert_id" else None)

    def _reject(self, row: int, field: str | None, reason: str, reader: RowReader) -> Reject:
        self.tally.reject(field, reason)
        return Reject(row, field and printable(field), printable(reason), printable(reader.raw()))
