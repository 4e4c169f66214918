"""ReportImportOperator: counts of every file, and a red run for a failed one."""

import gzip
from contextlib import suppress

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sluice_airflow.listeners.run_note import NOTE_KEY
from sluice_airflow.operators.check_quality import CheckQualityOperator
from sluice_airflow.operators.convert_files import ConvertFilesOperator
from sluice_airflow.operators.discover_files import DiscoverFilesOperator
from sluice_airflow.operators.load_files import LoadFilesOperator
from sluice_airflow.operators.report_import import ReportImportOperator

pytestmark = pytest.mark.usefixtures("airflow_connections", "enabled")

HEADER = (
    "year,month,day,dep_time,dep_delay,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,minute,"
    "time_hour"
)
FLIGHT = "2013,1,1,517,2,11,UA,1545,N14228,EWR,IAH,227,1400,15,2013-01-01T10:00:00Z"


@pytest.fixture(autouse=True)
def lake_on_disk(flights_config, tmp_path):
    """Keep the lake on disk: one on S3, which takes long to make, is that of test_load_files.py."""
    flights_config("lake.yaml", uri=str(tmp_path / "lake"))


@pytest.fixture
def imported(flights_config, context, s3, bucket):
    """Import the given files and report them."""

    def run(**contents):
        for month, content in contents.items():
            s3.put_object(Bucket=bucket, Key=f"flights/flights-2013-{month[1:]}.csv.gz", Body=content)
        for batch in DiscoverFilesOperator(task_id="discover_files", source="flights").execute(context):
            ConvertFilesOperator(task_id="convert_files", source="flights", batch=batch).execute(context)
        CheckQualityOperator(task_id="check_quality", pipeline="import", name="flights").execute(context)
        with suppress(AirflowSkipException):
            LoadFilesOperator(task_id="load_files", source="flights").execute(context)
        return ReportImportOperator(task_id="report_import", source="flights").execute(context)

    return run


GOOD = gzip.compress(f"{HEADER}\n{FLIGHT}\n".encode())


def test_it_returns_the_counts(imported):
    report = imported(m01=GOOD)
    assert (report["files"], report["failed_files"], report["rows_read"], report["loaded"]) == (1, 0, 1, 1)
    [file] = report["shown"]
    assert (file["key"], file["state"], file["loaded"]) == ("flights/flights-2013-01.csv.gz", "done", 1)


def test_a_failed_file_makes_the_run_red_after_the_others_are_loaded(imported, context):
    with pytest.raises(AirflowFailException) as caught:
        imported(m01=GOOD, m02=GOOD[:-9])
    lines = str(caught.value).splitlines()
    assert lines[0] == "1 of 2 files were not imported; 1 rows of the others are in the lake."
    assert lines[1].startswith("- flights/flights-2013-02.csv.gz: The gzip data ends early")
    note = context["ti"].pushed[NOTE_KEY]
    assert note.startswith("2 files, 1 rows: 1 loaded, 0 duplicate, 0 ignored, 0 rejected. Failed: flights/")


def test_nothing_to_do_is_no_failure(imported):
    assert imported()["files"] == 0
