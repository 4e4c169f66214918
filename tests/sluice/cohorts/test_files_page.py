"""What docs/cohorts.md shows of the files is what is written, and its code does what it says."""

import csv
import io
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.cohorts.csv_files import object_keys, write_csv_files
from sluice.cohorts.csv_rows import CsvEncoder
from sluice.cohorts.diff import Before, diff
from sluice.config import S3CohortDestination

PAGE = (Path(__file__).parents[3] / "docs" / "cohorts.md").read_text()
SECTION = PAGE.partition("## What a sync writes to S3")[2].partition("\n## ")[0]
AS_OF = datetime(2013, 1, 31, 17, tzinfo=UTC)
SYNC = SimpleNamespace(
    cohort=SimpleNamespace(project=187520, id="delayed"), config=SimpleNamespace(routing_key="crm")
)


def block(language):
    return re.search(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)[1]


def destination():
    return S3CohortDestination(
        id="crm", name="CRM", owner="owner@example.com", projects=[187520], kind="s3",
        bucket="sluice-audiences", path="audiences",
    )  # fmt: skip


def written(folder):
    table = pa.table(
        {
            "amplitude_id": [1099511627779, 1099511627802],
            "user_id": ["N14228", None],
            "carrier": ["UA", 'with "quotes", and a comma'],
        }
    )
    pq.write_table(table, folder / "snapshot.parquet")
    lists = diff(
        folder / "snapshot.parquet", Before(), match_by="user_id", properties=["carrier"], as_of=AS_OF,
        folder=folder,
    )  # fmt: skip
    write_csv_files(lists, SYNC, destination(), SimpleNamespace(as_of=AS_OF), folder)
    return (folder / "existing.csv").read_text()


def test_the_names_on_the_page():
    shown = [line.split()[0] for line in block("").splitlines()]
    assert shown == list(object_keys(SYNC, destination(), AS_OF).values())


def test_the_file_on_the_page(tmp_path):
    assert written(tmp_path) == block("csv")


def test_the_page_s_code_undoes_csv_safe():
    code = {}
    exec(block("python"), code)  # the page's own code
    cells = ["=1", "'=1", "''=1", "-5", "'quoted'", "plain", "", "+", "'", "\t", "'\r"]
    batch = pa.RecordBatch.from_pydict(
        {"amplitude_id": list(range(len(cells))), "value": cells},
    )
    text = b"".join(CsvEncoder([], csv_safe=True).encode(batch)).decode()
    assert [code["undone"](row[1]) for row in csv.reader(io.StringIO(text, newline=""))] == cells
