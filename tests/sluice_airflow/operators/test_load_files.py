"""LoadFilesOperator: what the run staged enters the lake, once."""

import gzip

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from sluice_airflow.assets import events_asset
from sluice_airflow.hooks.sluice import SluiceHook
from sluice_airflow.operators.check_quality import CheckQualityOperator
from sluice_airflow.operators.convert_files import ConvertFilesOperator
from sluice_airflow.operators.discover_files import DiscoverFilesOperator
from sluice_airflow.operators.load_files import LoadFilesOperator

pytestmark = pytest.mark.usefixtures("airflow_connections", "enabled")

HEADER = (
    "year,month,day,dep_time,dep_delay,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,minute,"
    "time_hour"
)
FLIGHT = "2013,1,1,517,2,11,UA,{flight},N14228,EWR,IAH,227,1400,15,2013-01-01T10:00:00Z"


def test_it_loads_what_is_staged_and_nothing_twice(flights_config, context, s3, bucket):
    rows = [HEADER, FLIGHT.format(flight=1), FLIGHT.format(flight=2), FLIGHT.format(flight=1)]
    s3.put_object(
        Bucket=bucket, Key="flights/flights-2013-01.csv.gz", Body=gzip.compress("\n".join(rows).encode())
    )
    [batch] = DiscoverFilesOperator(task_id="discover_files", source="flights").execute(context)
    ConvertFilesOperator(task_id="convert_files", source="flights", batch=batch).execute(context)
    CheckQualityOperator(task_id="check_quality", pipeline="import", name="flights").execute(context)
    asset = events_asset(187520)
    load = LoadFilesOperator(task_id="load_files", source="flights", outlets=[asset])
    assert load.execute(context) == {
        "files": 1,
        "commits": 1,
        "counts": {"read": 3, "loaded": 2, "duplicate": 1, "ignored": 0, "rejected": 0},
    }
    counts = {"files": 1, "failed_files": 0, "rows_read": 3, "loaded": 2, "duplicate": 1, "ignored": 0}
    extra = {"source": "flights", "run": context["run_id"], "rejected": 0} | counts
    assert context["outlet_events"][asset].extra == extra
    # A try after one that was killed when all was loaded tells the same.
    context["outlet_events"].clear()
    assert load.execute(context)["files"] == 0
    assert context["outlet_events"][asset].extra == extra
    events = SluiceHook().lake.events().to_pyarrow_table().to_pylist()
    assert sorted(event["device_id"] for event in events) == ["UA-1-EWR", "UA-2-EWR"]
    assert {str(event["server_upload_time"]) for event in events} == {"2013-01-01 10:15:00+00:00"}


def test_a_run_that_loads_nothing_wakes_nobody(flights_config, context, s3, bucket):
    load = LoadFilesOperator(task_id="load_files", source="flights", outlets=[events_asset(187520)])
    with pytest.raises(AirflowSkipException, match="loaded no row"):
        load.execute(context)
    assert context["outlet_events"] == {}
