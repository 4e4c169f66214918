"""One run of one source: what discovery, conversion, load and report all need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sluice.access.access import Access
from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.imports.taxonomy import TaxonomyCheck, taxonomy_of
from sluice.lake import Lake
from sluice.ledger import Ledger


@dataclass(frozen=True)
class ImportRun:
    """A run of an import source; `run` names it, the same in every try of its steps.

    `store` opens the source's bucket, `converter_path` is the converter that newly found files get,
    `taxonomy` the plan that their events are checked against.
    """

    source: ImportConfig
    run: str
    store: S3Store
    lake: Lake
    ledger: Ledger
    converter_path: Path
    taxonomy: TaxonomyCheck | None = None

    @classmethod
    def open(cls, access: Access, source_id: str, run: str) -> ImportRun:
        """Open what the configured source names. Raises SluiceError if there is no valid source of the id."""
        source = access.config.source(source_id)
        return cls(
            source=source,
            run=run,
            store=access.store(source.connection, source.region),
            lake=access.lake,
            ledger=access.ledger,
            converter_path=access.config.converter_path(source),
            taxonomy=taxonomy_of(access.config, source),
        )
