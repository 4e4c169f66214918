"""Replays the exported files into a second, empty lake and exports that one, without Airflow."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sluice.access.storage import S3Store
from sluice.config import ExportConfig, ImportConfig
from sluice.config.load import REPLAY_FILES
from sluice.exports.bucket import Bucket
from sluice.exports.hour import Exporter, Run
from sluice.imports.convert import convert_batch
from sluice.imports.discovery import discover
from sluice.imports.load import load_run
from sluice.imports.session import ImportRun
from sluice.lake import Lake
from sluice.ledger import Ledger
from sluice.ledger.files import holder_of

_RUN = "demo-replay"


def replay_and_export(
    store: S3Store, destination: ExportConfig, project: int, bucket: str, hours: Sequence[datetime]
) -> int:
    """Load what a destination's bucket holds of a project into an empty lake, and export its hours to
    `bucket`; return how many events were loaded.

    Lake and ledger are a temporary folder, gone afterwards.
    """
    source = ImportConfig.model_validate(
        {
            "id": f"{destination.id}_again",
            "name": f"{destination.name}, replayed",
            "owner": destination.owner,
            "project": project,
            "bucket": destination.bucket,
            "prefix": destination.folder(project),
            "region": store.region,
            "account": "own",
            "replay": True,
            "size_policy": "ignore",
            # What comes out is compared byte for byte.
            "quality": {"enabled": False},
        }
    )
    with tempfile.TemporaryDirectory(prefix="sluice-replay-") as folder:
        lake = Lake(str(Path(folder, "lake")))
        lake.create()
        ledger = Ledger.open(f"sqlite:///{folder}/ledger.db")
        run = ImportRun(source, _RUN, store, lake, ledger, REPLAY_FILES)
        for batch in discover(run).batches:
            convert_batch(run, batch, holder_of(_RUN, batch.number))
        loaded = load_run(run)
        again = destination.model_copy(
            update={"id": source.id, "bucket": bucket, "projects": (project,), "quality": source.quality}
        )
        client = store.client()
        exporter = Exporter(
            again, lake=lake, ledger=ledger, bucket=Bucket(client, bucket, again.prefix),
            run=Run(_RUN, "backfill"),
        )  # fmt: skip
        for hour in hours:
            exporter.export(hour)
        # All that the run has staged.
        exporter.publish(hours[0])
    return loaded.counts.loaded
