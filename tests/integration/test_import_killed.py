"""A worker killed anywhere in an import: after the retry every row is in the lake once (invariant 4)."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs
import pytest

from sluice.lake import Lake
from sluice.ledger import Ledger, files

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

# The steps of one run, in a process of its own that ends itself with SIGKILL at the named point.
WORKER = """
import importlib, json, os, signal, sys
from pathlib import Path
from sluice.access.storage import S3Store
from sluice.config import ImportConfig
from sluice.imports.convert import convert_batch
from sluice.imports.discovery import discover
from sluice.imports.load import load_run
from sluice.imports.session import ImportRun
from sluice.lake import Lake
from sluice.ledger import Ledger
from sluice.ledger.files import holder_of

facts = json.loads(sys.argv[1])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

if facts["die"]:
    module, _, name = facts["die"]["at"].partition(":")
    owner = importlib.import_module(module)
    *path, name = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    real, calls = getattr(owner, name), []

    def watched(*arguments, **keywords):
        calls.append(1)
        mine = len(calls) == facts["die"]["call"]
        if mine and facts["die"]["when"] == "before":
            die()
        result = real(*arguments, **keywords)
        if mine:
            die()
        return result

    setattr(owner, name, watched)

for name in facts["runs"]:
    run = ImportRun(
        ImportConfig.model_validate(facts["source"]), name, S3Store.of(**facts["store"]),
        Lake(facts["lake"]), Ledger.open(facts["ledger"]), Path(facts["converter"]),
    )
    found = discover(run)
    for batch in found.batches:
        convert_batch(run, batch, holder_of(name, batch.number))
    load_run(run)
"""


@dataclass
class Import:
    """A source with two files of 50 rows each, and the processes that import it."""

    facts: dict[str, Any]

    def work(self, *runs: str, die: dict[str, object] | None = None) -> int:
        done = subprocess.run(
            [sys.executable, "-c", WORKER, json.dumps(self.facts | {"runs": runs, "die": die})],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode

    @property
    def lake(self) -> Lake:
        return Lake(self.facts["lake"])

    def rows(self) -> Counter[tuple[str, int]]:
        table = self.lake.events().to_pyarrow_table(columns=["$insert_id", "uuid"])
        return Counter(zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True))

    def states(self) -> list[tuple[str, int | None, int | None]]:
        with Ledger.open(self.facts["ledger"]).begin() as connection:
            rows = connection.execute(files.files.select().order_by(files.files.c.key))
            return [(row.state, row.loaded, row.duplicate) for row in rows]

    def staged(self) -> list[str]:
        selector = pafs.FileSelector("_staging", recursive=True, allow_not_found=True)
        return [
            info.path
            for info in self.lake.filesystem().get_file_info(selector)
            if info.type == pafs.FileType.File
        ]


@pytest.fixture
def job(s3: S3Client, s3_access: Any, bucket: str, tmp_path: Path) -> Import:
    function = {"event_type": "name", "user_id": "user", "time": "time"}
    config = {"fileType": "csv", "compressionType": "gzip", "convertToAmplitudeFunc": function}
    converter = tmp_path / "converter.json"
    converter.write_text(json.dumps({"converterConfig": config}))
    for name in ("a", "b"):
        lines = ["name,user,time", *(f"open,user-{number},{1357034400000 + number}" for number in range(50))]
        s3.put_object(Bucket=bucket, Key=f"in/{name}.csv.gz", Body=gzip.compress("\n".join(lines).encode()))
    lake = Lake(str(tmp_path / "lake"))
    lake.create()
    return Import(
        {
            "source": {
                "id": "small",
                "name": "Small files",
                "owner": "data@example.com",
                "project": 187520,
                "bucket": bucket,
                "prefix": "in/",
                "region": "us-east-1",
                "converter": "converter.json",
                "size_policy": "ignore",
            },
            "store": {
                "access_key": s3_access.access_key,
                "secret_key": s3_access.secret_key,
                "endpoint_url": s3_access.endpoint_url,
                "region": s3_access.region,
            },
            "lake": lake.uri,
            "ledger": f"sqlite:///{tmp_path}/ledger.db",
            "converter": str(converter),
        }
    )


@pytest.mark.parametrize(
    "die",
    [
        pytest.param(("sluice.ledger.files:add_new", "after"), id="after-discovery"),
        pytest.param(("sluice.ledger.files:stage", "before"), id="rows-staged-but-not-recorded"),
        pytest.param(("sluice.ledger.files:stage", "after"), id="first-file-staged"),
        pytest.param(("sluice.ledger.files:stage", "after", 2), id="all-staged"),
        pytest.param(("sluice.lake.snapshot:Snapshot.commit", "before"), id="before-the-commit"),
        pytest.param(("sluice.lake.snapshot:Snapshot.commit", "after"), id="after-the-commit"),
        pytest.param(("sluice.imports.load:remove_run", "before"), id="staging-not-removed"),
    ],
)
def test_every_row_is_there_once_after_the_retry(job: Import, die: tuple[Any, ...]) -> None:
    at, when, *call = die
    point = {"at": at, "when": when, "call": call[0] if call else 1}
    assert job.work("run-1", die=point) == -signal.SIGKILL
    # The same run again, and the next one, which finds nothing to do.
    assert job.work("run-1", "run-2") == 0
    rows = job.rows()
    assert len(rows) == 100
    assert set(rows.values()) == {1}
    assert job.states() == [("done", 50, 0), ("done", 50, 0)]
    assert job.staged() == []
    assert job.lake.events().version() == 1
