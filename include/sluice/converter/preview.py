"""Reading a few rows of a file for preview, explain and init: CSV, JSON lines and Parquet, local or on S3.

Cells of CSV stay strings (decisions I-2); Parquet types become JSON as decisions D-17 says; a compression
other than the configured one is an error of the file (decisions D-19).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from sluice.converter.config import ConverterConfig
from sluice.converter.jsontext import BrokenJson, parse, show
from sluice.converter.limits import MAX_TEXT
from sluice.converter.outcomes import Json, RowError
from sluice.errors import SluiceError

Row = dict[str, Json]
GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"
_S3_BLOCK = 1 << 20


class PreviewError(SluiceError):
    """A file that cannot be read as the configuration says."""


class _S3Object(io.RawIOBase):
    """One S3 object, read by ranges; a network call for each block and no temporary file."""

    def __init__(self, location: str) -> None:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        self._location = location
        self._bucket, _, self._key = location.removeprefix("s3://").partition("/")
        if not (self._bucket and self._key):
            raise PreviewError(f"{location}: an object is named as s3://bucket/key")
        self._at = 0
        # ValueError: an endpoint that is no URL.
        self._errors = (BotoCoreError, ClientError, ValueError)
        try:
            self._client = boto3.client("s3")
            head = self._client.head_object(Bucket=self._bucket, Key=self._key)
        except self._errors as error:
            raise self._failure(error) from None
        self._size = int(head["ContentLength"])

    def _failure(self, error: Exception) -> PreviewError:
        return PreviewError(f"{self._location}: {' '.join(str(error).split())}")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        extent = f"bytes={self._at}-{end - 1}"
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key, Range=extent)
            data = answer["Body"].read()
        except self._errors as error:
            raise self._failure(error) from None
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_file(location: str) -> BinaryIO:
    """Open a local path or `s3://bucket/key`, with boto3's default session (which reads AWS_ENDPOINT_URL)."""
    if location.startswith("s3://"):
        return cast(BinaryIO, io.BufferedReader(_S3Object(location), _S3_BLOCK))
    try:
        return Path(location).open("rb")
    except OSError as error:
        raise PreviewError(f"{location}: {error.strerror}") from None


def _head(file: BinaryIO, location: str, count: int) -> bytes:
    head = file.read(count)
    if not head:
        raise PreviewError(f"{location}: the file is empty")
    return head


def read_rows(location: str, config: ConverterConfig) -> Iterator[Row | RowError]:
    """Read a file's rows as the configuration says; a row that cannot be read is given as its error."""
    with open_file(location) as file:
        magic = _head(file, location, 4)
        file.seek(0)
        if config.file_type == "parquet":
            if magic != PARQUET_MAGIC:
                raise PreviewError(f"{location}: fileType is parquet, but the file is not")
            yield from _parquet_rows(file, location)
            return
        is_gzip = magic.startswith(GZIP_MAGIC)
        if is_gzip != (config.compression == "gzip"):
            found = "gzip" if is_gzip else "not gzip"
            raise PreviewError(
                f"{location}: compressionType is {config.compression}, but the file is {found}"
            )
        plain = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_gzip else file
        encoding = "utf-8-sig" if config.encoding.lower() in ("utf-8", "utf8") else config.encoding
        try:
            with io.TextIOWrapper(plain, encoding=encoding, newline="") as text:
                yield from (_json_rows(text) if config.file_type == "json" else _csv_rows(text, config))
        except UnicodeError as error:
            raise PreviewError(
                f"{location}: is not {config.encoding} text: {error};"
                " converterConfig.encoding may name another"
            ) from None
        except (OSError, EOFError, csv.Error) as error:
            raise PreviewError(f"{location}: {error}") from None


def _json_rows(text: io.TextIOBase) -> Iterator[Row | RowError]:
    first = True
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        if first and line.lstrip().startswith("["):
            raise PreviewError("the file is a JSON array; it must hold one JSON object per line")
        first = False
        try:
            row = parse(line)
        except BrokenJson as error:
            yield RowError("", f"line {number} is not JSON: {error}")
        except RowError as error:
            yield RowError("", f"line {number}: {error.reason}")
        else:
            yield (
                row if isinstance(row, dict) else RowError("", f"line {number} is {show(row)}, not an object")
            )


def _csv_rows(text: io.TextIOBase, config: ConverterConfig) -> Iterator[Row | RowError]:
    csv.field_size_limit(MAX_TEXT)
    reader = csv.reader(
        text,
        delimiter=config.csv_delimiter,
        quotechar=config.csv_quote,
        quoting=csv.QUOTE_MINIMAL if config.csv_quote else csv.QUOTE_NONE,
        escapechar=config.csv_escape,
        doublequote=config.csv_escape is None,
    )
    columns = list(config.csv_columns) if config.csv_columns else next(reader, [])
    if len(set(columns)) < len(columns):
        name = next(column for column in columns if columns.count(column) > 1)
        raise PreviewError(f"the header names {name!r} twice")
    for cells in reader:
        if len(cells) == len(columns):
            yield dict(zip(columns, cells, strict=True))
        elif cells:
            yield RowError(
                "", f"line {reader.line_num} has {len(cells)} cells, but there are {len(columns)} columns"
            )


def _parquet_rows(file: BinaryIO, location: str) -> Iterator[Row | RowError]:
    import pyarrow
    import pyarrow.parquet

    from sluice.converter.parquet import OPTIONS, ParquetJson, UnreadableSchema

    try:
        parquet = pyarrow.parquet.ParquetFile(file, **OPTIONS)
        rows = ParquetJson(parquet.schema_arrow)
        for batch in parquet.iter_batches(batch_size=1_000):
            yield from rows.rows(batch)
    except UnreadableSchema as error:
        raise PreviewError(f"{location}: {error}") from None
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise PreviewError(f"the Parquet file cannot be read: {error}") from None


def guess_config(location: str) -> dict[str, Json]:
    """Guess the file keys of `converterConfig` from a file's first bytes, for a converter that is yet to be
    written.
    """
    with open_file(location) as file:
        head = _head(file, location, 1 << 16)
    if head.startswith(PARQUET_MAGIC):
        return {"fileType": "parquet", "compressionType": "none"}
    compression = "gzip" if head.startswith(GZIP_MAGIC) else "none"
    if compression == "gzip":
        with open_file(location) as file, gzip.GzipFile(fileobj=file) as plain:
            try:
                head = plain.read(1 << 16)
            except (OSError, EOFError) as error:
                raise PreviewError(f"{location}: {error}") from None
    text = head.decode("utf-8-sig", "replace").lstrip()
    if text.startswith("["):
        raise PreviewError(f"{location}: the file is a JSON array; it must hold one JSON object per line")
    if text.startswith("{"):
        return {"fileType": "json", "compressionType": compression}
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=header.count)
    guess: dict[str, Json] = {"fileType": "csv", "compressionType": compression}
    return guess if delimiter == "," else {**guess, "csvDelimiter": delimiter}


def show_json(value: Json) -> str:
    """Write JSON for a person: one line for what is short, else indented."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else json.dumps(value, ensure_ascii=False, indent=2, default=str)
