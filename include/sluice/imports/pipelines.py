"""Which pipeline a source's rows go through."""

from __future__ import annotations

from datetime import datetime

from sluice.config import ImportConfig
from sluice.converter import Converter
from sluice.imports.identity import RowNames
from sluice.imports.replay import ReplayPipeline
from sluice.imports.rows import RowPipeline
from sluice.imports.taxonomy import TaxonomyCheck
from sluice.imports.times import EventTimes


def pipeline_for(
    source: ImportConfig,
    bucket: str,
    key: str,
    converter: Converter,
    read_at: datetime,
    taxonomy: TaxonomyCheck | None = None,
) -> RowPipeline | ReplayPipeline:
    """Return the pipeline of one file of a source, which is read at `read_at` by the ledger's clock.

    `taxonomy` is the project's plan, which converted rows are checked against and replayed ones are not.
    """
    if source.replay:
        return ReplayPipeline(source.project, read_at)
    times = EventTimes(source.upload_time, read_at, source.not_before, require_time=source.require_time)
    return RowPipeline(converter, RowNames(source.id, bucket, key), times, taxonomy)
