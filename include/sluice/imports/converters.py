"""The converters that files were discovered with, kept in the lake (decisions I-11).

A changed converter applies to files found after the change, so a file that waits still needs the old one.
"""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pyarrow.fs as pafs

from sluice.converter import Converter
from sluice.converter.converter import read_document
from sluice.errors import SluiceError
from sluice.imports.streams import open_output
from sluice.lake import Lake

ROOT = "_converters"


def remember(lake: Lake, path: Path) -> Converter:
    """Compile a converter file and keep its text in the lake under its hash. Raises ConfigError."""
    document = read_document(path)
    converter = Converter.from_config(document)
    filesystem, place = lake.filesystem(), _place(converter.hash)
    if filesystem.get_file_info(place).type != pafs.FileType.File:
        # Whole or not there: another task may look for it at this moment.
        draft = f"{ROOT}/{uuid4().hex}.part"
        with open_output(filesystem, draft) as stream:
            stream.write(json.dumps(document, ensure_ascii=False, indent=1).encode())
        filesystem.move(draft, place)
    return converter


def recall(lake: Lake, digest: str) -> Converter:
    """Compile the converter with this hash from the lake. Raises SluiceError if it is not there."""
    filesystem, place = lake.filesystem(), _place(digest)
    if filesystem.get_file_info(place).type != pafs.FileType.File:
        raise SluiceError(
            f"The converter {digest[:12]}… of a file that waits is not in the lake ({lake.uri}/{place}):"
            " put its JSON there, or clear the file's row in the ledger so that it is found anew."
        )
    with filesystem.open_input_stream(place) as stream:
        return Converter.from_config(json.loads(stream.read()))


def _place(digest: str) -> str:
    return f"{ROOT}/{digest}.json"
