"""A cohort's query on a database of an Airflow connection: any whose hook speaks Python's DB-API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException

from sluice.errors import SluiceError, TransientError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook


@contextmanager
def sql_cursor(connection_id: str) -> Iterator[Any]:
    """Give a cursor of an Airflow SQL connection, which ends with the block.

    Raises SluiceError for a connection that there is not, that runs no SQL, or whose provider is not
    installed; TransientError if the database does not let us in.
    """
    from sluice.cohorts.external import open_cursor

    hook = _hook(connection_id)
    try:
        connection = hook.get_conn()
    except Exception as error:
        # Each driver has errors of its own; what they share is that the database was not reached.
        raise TransientError(
            f"The database of the connection {connection_id} cannot be opened: {type(error).__name__}:"
            f" {str(error).strip()}. Check host, login and password of the connection, and that this machine"
            " reaches the host."
        ) from error
    with closing(connection), open_cursor(connection) as cursor:
        yield cursor


def _hook(connection_id: str) -> DbApiHook:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    try:
        connection = BaseHook.get_connection(connection_id)
    except AirflowException as error:
        raise SluiceError(
            f"Airflow has no connection {connection_id}: add it (Admin > Connections), or name another in the"
            " cohort's `connection`."
        ) from error
    try:
        hook: Any = connection.get_hook()  # type: ignore[no-untyped-call]
    except (AirflowException, ImportError) as error:
        raise SluiceError(
            f"The connection {connection_id} is of the type {connection.conn_type!r}, for which nothing is"
            " installed: install Airflow's provider of that type (requirements.in), or name a connection to"
            " another database in the cohort's `connection`."
        ) from error
    if not isinstance(hook, DbApiHook):
        raise SluiceError(
            f"The connection {connection_id} is of the type {connection.conn_type!r}, which runs no SQL: name"
            " one to a database in the cohort's `connection`, or take it out: the query then runs over the"
            " lake."
        )
    return hook
