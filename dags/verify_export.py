"""Proves that a bucket holds what the lake holds: reads both back and compares them, event by event.

`verify_export` looks at each hour of a range: how many events are in the lake (under the destination's
filter) and in the bucket, how many of them are missing, there twice, or unknown to the lake, and what cannot
be read. It finds deleted and overwritten files, files that end too early, stray files, missing markers, and
hours that the lake has changed since they were exported. Nothing is changed.

**By hand only**: choose the destination and the range; hours or dates of UTC, both ends inclusive. It reads
everything that it proves: about as long as the export took. `sluice verify` is the same on a terminal.

**When it fails**: a red task whose log ends with "differ" names the hours and the command that exports them
again; run that, then this again. An access error names the missing permission. The result is kept: see
`sluice export status`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Param

from sluice.config import load_config
from sluice_airflow.operators.verify_export import VerifyExportOperator
from sluice_airflow.retries import DELIVERY_RETRIES

config = load_config()

with DAG(
    dag_id="verify_export",
    dag_display_name="Verify an export",
    description="Compares a destination's objects with the lake, event by event.",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["sluice", "export"],
    params={
        "destination": Param(
            type="string",
            title="Destination",
            examples=[destination.id for destination in config.exports],
            description="Id of the export destination.",
        ),
        "from": Param(
            type="string",
            title="From (UTC, inclusive)",
            minLength=10,
            description="First hour (2013-01-02T12) or date (2013-01-02).",
        ),
        "to": Param(
            None,
            type=["null", "string"],
            title="To (UTC, inclusive)",
            description="Last hour or date; empty: the same as the first.",
        ),
    },
    default_args={"owner": config.administrator, **DELIVERY_RETRIES},
):
    VerifyExportOperator(
        task_id="verify_export",
        destination="{{ params.destination }}",
        first="{{ params['from'] }}",
        last="{{ params['to'] or '' }}",
    )
