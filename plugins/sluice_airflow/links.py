"""The buttons that Sluice's tasks have in Airflow's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
from airflow.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

# The XCom key under which a task leaves the ids of the gates that it passed, before it ends or fails.
GATES_KEY = "sluice_gates"
# Where the page of the gates is, below Airflow's own address.
PAGE = "sluice/quality"


@attrs.define()
class QualityReport(BaseOperatorLink):
    """From a task that checks to its gate's report, or to the list of the run's gates if it has several.

    Airflow asks for it in the task's own process when the task ends, also if it fails, and keeps the answer.
    """

    name = "Quality report"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        from airflow.sdk.execution_time.xcom import XCom

        gates = XCom.get_value(key=GATES_KEY, ti_key=ti_key)
        if not gates:
            return ""
        page = f"{conf.get('api', 'base_url', fallback='').rstrip('/')}/{PAGE}/"
        if len(gates) == 1:
            return f"{page}{gates[0]}"
        return f"{page}?run={quote(f'{ti_key.dag_id}/{ti_key.run_id}', safe='')}"
