"""Imports the files of an S3 bucket as events, each file once.

One DAG per file in `include/config/imports/`. `discover_files` compares the bucket with the ledger;
`convert_files` turns each batch of new files into staged rows; `check_quality` looks at all of them before
anybody else can; `load_files` brings whole files into the lake; `report_import` shows what became of every
file.

**Schedule**: every `scan_every` minutes of the source; none if that is `null` or the source is disabled, then
start it by hand. With `discovery: notifications`, whenever S3 tells the source's queue of a file, and every
`sweep_every` minutes. A run by hand lists the whole prefix. Runs follow each other, never side by side.

**Quality gate**: a red `check_quality` has stopped the load. Nothing of the run is in the lake, its files are
*held*, and other runs pass them by. "Quality report" on the task and `sluice quality show RUN` say what
failed and what to do: `sluice quality release` if the data are right, then clear the task; `sluice quality
discard` if not: then the files are failed ones, which `sluice import retry` takes again once the converter or
they are mended. A run with the param `override_quality` (a reason, as text) goes on whatever its gate says,
on record with your name.

**When it fails**: a red `report_import` lists the files that could not be imported, each with its reason; all
others are loaded. Upload the content again under a new name: a source takes each file name once. A red
`discover_files` or `convert_files` names the permission, bucket or connection at fault; clear the task once
that is put right. Every task may be cleared and retried at any time: no row is loaded twice.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, TriggerRule

from sluice.config import ImportConfig, load_config
from sluice_airflow.assets import events_asset
from sluice_airflow.operators.check_quality import CheckQualityOperator
from sluice_airflow.operators.convert_files import ConvertFilesOperator
from sluice_airflow.operators.discover_files import DiscoverFilesOperator
from sluice_airflow.operators.load_files import LoadFilesOperator
from sluice_airflow.operators.report_import import ReportImportOperator
from sluice_airflow.quality_run import override_param
from sluice_airflow.retries import IMPORT_RETRIES
from sluice_airflow.schedules import import_schedule


def import_dag(source: ImportConfig) -> DAG:
    """Build the DAG of one source."""
    with DAG(
        dag_id=source.dag_id,
        dag_display_name=f"Import {source.name}",
        description=source.description or source.name,
        doc_md=__doc__,
        schedule=import_schedule(source),
        start_date=datetime(2020, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        tags=["sluice", "import", f"project:{source.project}"],
        params=override_param(),
        default_args={"owner": source.owner, **IMPORT_RETRIES},
    ) as dag:
        discover_files = DiscoverFilesOperator(task_id="discover_files", source=source.id)
        convert_files = ConvertFilesOperator.partial(
            task_id="convert_files",
            source=source.id,
            map_index_template="{{ task.batch['files'] }} files from {{ task.batch['first'][1] }}",
        ).expand(batch=discover_files.output)
        # Without new files, convert_files is skipped; what an earlier try left is loaded and reported anyway.
        load_files = LoadFilesOperator(
            task_id="load_files",
            source=source.id,
            trigger_rule=TriggerRule.NONE_FAILED,
            # Other DAGs may be scheduled on new events of the project.
            outlets=[events_asset(source.project)],
        )
        report_import = ReportImportOperator(
            task_id="report_import", source=source.id, trigger_rule=TriggerRule.NONE_FAILED
        )
        if source.quality.enabled:
            check_quality = CheckQualityOperator(
                task_id="check_quality",
                pipeline="import",
                name=source.id,
                trigger_rule=TriggerRule.NONE_FAILED,
            )
            discover_files >> convert_files >> check_quality >> load_files >> report_import
        else:
            discover_files >> convert_files >> load_files >> report_import
    return dag


for source in load_config().imports:
    globals()[source.dag_id] = import_dag(source)
