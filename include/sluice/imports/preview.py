"""A look at a source before it runs: which keys match, and what its first rows become."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.converter import Converter, RowError
from sluice.imports.errors import FileError
from sluice.imports.objects import ListedObject, SourceObject, list_objects
from sluice.imports.pipelines import pipeline_for
from sluice.imports.readers import reader_for
from sluice.imports.records import BadRow, FileReader
from sluice.imports.replay import ReplayPipeline
from sluice.imports.rows import RowPipeline
from sluice.imports.taxonomy import TaxonomyCheck

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_LISTED = 10_000
MAX_SHOWN = 20
MAX_ROWS = 10


@dataclass
class Keys:
    """The first 10,000 objects of a prefix: how many match or not, and the first of either kind.

    `more` says that there are more objects than were looked at, `in_folder` that all of them lie below
    `<prefix>/`: then the prefix is probably meant as a folder, and lacks its slash (decisions I-22).
    """

    matching: int = 0
    others: int = 0
    first_matching: list[ListedObject] = field(default_factory=list)
    first_others: list[ListedObject] = field(default_factory=list)
    more: bool = False
    in_folder: bool = False


@dataclass(frozen=True)
class Sample:
    """One row of a matching file: its record and event, or what speaks against it.

    Without `row` it is about the file as a whole. `event` None without a fault is an ignored row.
    """

    key: str
    row: int | None
    record: dict[str, Any] | None = None
    event: dict[str, Any] | None = None
    fault: str | None = None


def look_at_keys(source: ImportConfig, store: S3Store, converter: Converter) -> Keys:
    """List the beginning of the source's prefix. Raises ImportAccessError if it cannot be listed."""
    keys = Keys()
    folder = f"{source.prefix}/"
    keys.in_folder = not source.prefix.endswith("/") and bool(source.prefix)
    for number, item in enumerate(list_objects(store.client(), source.bucket, source.prefix)):
        if number == MAX_LISTED:
            keys.more = True
            break
        keys.in_folder &= item.key.startswith(folder)
        if item.size and matches(converter, item.key, source):
            keys.matching += 1
            shown = keys.first_matching
        else:
            keys.others += 1
            shown = keys.first_others
        if len(shown) < MAX_SHOWN:
            shown.append(item)
    keys.in_folder &= bool(keys.matching + keys.others)
    return keys


def sample_rows(
    source: ImportConfig,
    store: S3Store,
    converter: Converter,
    taxonomy: TaxonomyCheck | None,
    items: list[ListedObject],
) -> Iterator[Sample]:
    """Yield the first rows of the files beside their events, by the very steps of an import."""
    client = store.client()
    samples = (file_samples(source, client, converter, taxonomy, item) for item in items)
    return islice(chain.from_iterable(samples), MAX_ROWS)


def file_samples(
    source: ImportConfig,
    client: S3Client,
    converter: Converter,
    taxonomy: TaxonomyCheck | None,
    item: ListedObject,
) -> Iterator[Sample]:
    """Stream the rows of one file beside their events; a file that cannot be read on ends with its fault."""
    content = SourceObject(client, source.bucket, item.key, item.etag, item.size)
    pipeline = pipeline_for(source, source.bucket, item.key, converter, datetime.now(UTC), taxonomy)
    try:
        reader = reader_for(content, converter)
        if isinstance(pipeline, ReplayPipeline):
            yield from _replayed(item.key, reader, pipeline)
        else:
            yield from _converted(item.key, reader, pipeline)
    except FileError as error:
        yield Sample(item.key, None, fault=str(error))


def _converted(key: str, reader: FileReader, pipeline: RowPipeline) -> Iterator[Sample]:
    for row, record in enumerate(reader):
        if isinstance(record, BadRow):
            yield Sample(key, row, fault=record.reason)
            continue
        event = None
        try:
            event = pipeline.convert(row, record)
            if event is not None:
                pipeline.builder.cells(row, event)
        except RowError as error:
            yield Sample(key, row, record, event, str(error))
        else:
            yield Sample(key, row, record, event)


def _replayed(key: str, reader: FileReader, pipeline: ReplayPipeline) -> Iterator[Sample]:
    """Show each row as its own event: a replay changes nothing."""
    first = 0
    for piece in reader.pieces():
        faults = pipeline.faults(first, piece)
        for place, record in enumerate(piece.reader()):
            if isinstance(record, BadRow):
                yield Sample(key, first + place, fault=record.reason)
            elif place in faults:
                yield Sample(key, first + place, record, fault=str(faults[place]))
            else:
                yield Sample(key, first + place, record, record)
        first += piece.count


def matches(converter: Converter, key: str, source: ImportConfig) -> bool:
    """Whether a key is one of the source's files; one that filterPattern cannot be tried on is not."""
    try:
        return converter.matches(key, source.prefix)
    except RowError:
        return False
