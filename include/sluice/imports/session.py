"""One run of one source: what discovery, conversion, load and report all need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.lake import Lake
from sluice.ledger import Ledger


@dataclass(frozen=True)
class ImportRun:
    """A run of an import source; `run` names it, the same in every try of its steps.

    `store` opens the source's bucket, `converter_path` is the converter that newly found files get.
    """

    source: ImportConfig
    run: str
    store: S3Store
    lake: Lake
    ledger: Ledger
    converter_path: Path
