"""ConvertFilesOperator: one batch, its counts, and a second try that converts nothing again."""

import gzip

import pytest

from sluice.ledger import files
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.operators.convert_files import ConvertFilesOperator
from sluice_airflow.operators.discover_files import DiscoverFilesOperator

pytestmark = pytest.mark.usefixtures("airflow_connections", "enabled")

HEADER = (
    "year,month,day,dep_time,dep_delay,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,minute,"
    "time_hour"
)
FLIGHT = "2013,1,1,517,2,11,UA,1545,N14228,EWR,IAH,227,1400,15,2013-01-01T10:00:00Z"


def convert(context, batch):
    operator = ConvertFilesOperator(task_id="convert_files", source="flights", batch=batch)
    operator.render_template_fields(context)
    return operator.execute(context)


def test_it_stages_good_files_and_fails_bad_ones(flights_config, context, s3, bucket):
    good = gzip.compress(f"{HEADER}\n{FLIGHT}\n".encode())
    s3.put_object(Bucket=bucket, Key="flights/flights-2013-01.csv.gz", Body=good)
    s3.put_object(Bucket=bucket, Key="flights/flights-2013-02.csv.gz", Body=b"no gzip")
    [batch] = DiscoverFilesOperator(task_id="discover_files", source="flights").execute(context)
    assert convert(context, batch) == {"staged": 1, "failed": 1, "skipped": 0, "rows": 1}
    ledger = SluiceHook().ledger
    staged = [file.staged["events"] for file in files.staged_by(ledger, "flights", context["run_id"])]
    # The task is tried again: the rows that are staged already stay.
    assert convert(context, batch) == {"staged": 1, "failed": 1, "skipped": 0, "rows": 1}
    assert [file.staged["events"] for file in files.staged_by(ledger, "flights", context["run_id"])] == staged
    # Another run does not take what this one has.
    assert convert({"run_id": "other"}, batch)["skipped"] == 2
