"""A cohort from a file of ids: each is resolved through the lake's tables of users and devices.

The file says who is meant, whenever that is asked; so it is the same as of any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from sluice.cohorts.engine import connect, explained
from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.id_files import IdFile
from sluice.cohorts.list_files import property_column
from sluice.cohorts.snapshot import IdProblem, Snapshot, snapshot_of_query
from sluice.config import Config
from sluice.config.cohorts import CohortConfig
from sluice.event_filters import identifier
from sluice.lake import Lake
from sluice.lake.snapshot import Snapshot as LakeSnapshot

if TYPE_CHECKING:
    from sluice.ledger import Ledger

MAX_PROBLEMS = 1_000


def snapshot_of_file(
    cohort: CohortConfig, config: Config, lake: Lake, ledger: Ledger | None, path: Path
) -> Snapshot:
    """Write the members that a file of ids names, as far as the lake knows them.

    Raises CohortQueryError for a file that cannot be read, and for an id that is there twice with different
    properties.
    """
    if ledger is None:
        raise CohortQueryError.of(cohort, "a file of ids is looked up with the ledger: name it (--ledger)")
    file = IdFile.open(cohort, config)
    sources = [source.id for source in config.sources_of(cohort)]
    with connect() as connection, explained(cohort):
        _read(connection, file)
        _check_doubles(cohort, connection)
        _resolve(connection, file, lake, ledger, sources or [cohort.project])
        columns = [*(["app"] if sources else []), "amplitude_id", "user_id"]
        columns += [f"{_column(name)} AS {identifier(name)}" for name in cohort.properties]
        found = f"SELECT {', '.join(columns)} FROM resolved"
        snapshot = snapshot_of_query(cohort, config, connection, found, {}, path)
        unresolved, doubles, problems = _problems(connection, file)
    return Snapshot(
        path,
        snapshot.members,
        snapshot.properties,
        sql="",
        unresolved=unresolved,
        doubles=doubles,
        id_problems=problems,
    )


def _column(name: str) -> str:
    return identifier(property_column(name))


def _read(connection: duckdb.DuckDBPyConnection, file: IdFile) -> None:
    """Make the table `lines`; an Amplitude ID is there as the number is written usually."""
    texts = "".join(f", {_column(name)} VARCHAR" for name in file.cohort.properties)
    connection.execute(f"CREATE TEMP TABLE lines (line BIGINT, id VARCHAR{texts})")
    for piece in file.rows():
        connection.register("piece", piece)
        connection.execute("INSERT INTO lines SELECT * FROM piece")
        connection.unregister("piece")
    if file.id_column == "amplitude_id":
        connection.execute("UPDATE lines SET id = coalesce(TRY_CAST(id AS BIGINT)::VARCHAR, id)")


def _check_doubles(cohort: CohortConfig, connection: duckdb.DuckDBPyConnection) -> None:
    for name in cohort.properties:
        column = _column(name)
        rows = connection.execute(
            f"SELECT list(line ORDER BY line)[:2] FROM lines WHERE id IS NOT NULL GROUP BY id"
            f" HAVING count(DISTINCT {column}) > 1 OR count({column}) BETWEEN 1 AND count(*) - 1 LIMIT 1"
        ).fetchall()
        if rows:
            one, other = rows[0][0]
            raise CohortQueryError.of(
                cohort,
                f"{cohort.ids_file}: lines {one} and {other} have the same id and differ in {name!r}: take"
                " one of them out",
            )


def _resolve(
    connection: duckdb.DuckDBPyConnection,
    file: IdFile,
    lake: Lake,
    ledger: Ledger,
    projects: Sequence[int],
) -> None:
    """Make the table `resolved`: line, app, amplitude_id, user_id, properties."""
    by_user = file.id_column == "user_id"
    connection.execute(
        "CREATE TEMP TABLE wanted AS SELECT min(line) AS line, "
        + ("id AS user_id" if by_user else "TRY_CAST(id AS BIGINT) AS amplitude_id")
        + " FROM lines WHERE id IS NOT NULL GROUP BY ALL"
    )
    connection.execute(
        "CREATE TEMP TABLE known"
        " (place INTEGER, app BIGINT, line BIGINT, amplitude_id BIGINT, user_id VARCHAR)"
    )
    for place, project in enumerate(projects):
        tables = LakeSnapshot.open(lake, ledger, project)
        connection.register("side", tables.side_rows("users", ["user_id", "amplitude_id", "n"]))
        # Of several rows of one id the newest counts.
        key, other = ("user_id", "amplitude_id") if by_user else ("amplitude_id", "user_id")
        connection.execute(
            f"INSERT INTO known BY NAME SELECT {place} AS place, {project} AS app, line, {key},"
            f" arg_max(side.{other}, n) AS {other} FROM side JOIN wanted USING ({key}) GROUP BY ALL"
        )
        connection.unregister("side")
        if not by_user:
            # A device's own, or a user's second one: known, though of nobody with a name.
            connection.register("side", tables.side_rows("devices", ["amplitude_id"]))
            connection.execute(
                f"INSERT INTO known BY NAME SELECT DISTINCT {place} AS place, {project} AS app, line,"
                " amplitude_id, NULL AS user_id FROM side JOIN wanted USING (amplitude_id)"
                f" WHERE line NOT IN (SELECT line FROM known WHERE app = {project})"
            )
            connection.unregister("side")
    # A number may be two people's in two projects: the first project's is meant.
    first = "" if by_user else " QUALIFY place = min(place) OVER (PARTITION BY line)"
    connection.execute(
        "CREATE TEMP TABLE resolved AS SELECT known.*, lines.* EXCLUDE (line, id)"
        f" FROM known JOIN lines USING (line){first}"
    )


def _problems(connection: duckdb.DuckDBPyConnection, file: IdFile) -> tuple[int, int, tuple[IdProblem, ...]]:
    """Return how many lines name nobody known, how many repeat an id, and the first of both."""
    wrong = (
        "''"
        if file.id_column == "user_id"
        else "CASE WHEN TRY_CAST(id AS BIGINT) IS NULL THEN ': an Amplitude ID is a whole number' ELSE '' END"
    )
    connection.execute(
        f"""
        CREATE TEMP TABLE problems AS
        WITH numbered AS (
            SELECT line, id, min(line) OVER (PARTITION BY id) AS first FROM lines
        )
        SELECT line, coalesce(id, '') AS id, CASE
            WHEN id IS NULL THEN 'there is no {file.id_column}'
            WHEN line != first THEN 'the same as line ' || first
            ELSE 'nobody in the lake has this {file.id_column}' || {wrong}
        END AS reason, id IS NOT NULL AND line != first AS double
        FROM numbered
        WHERE id IS NULL OR line != first OR first NOT IN (SELECT line FROM resolved)
        """
    )
    unresolved, doubles = connection.execute(
        "SELECT count(*) FILTER (NOT double), count(*) FILTER (double) FROM problems"
    ).fetchall()[0]
    first = connection.execute(
        f"SELECT line, id, reason FROM problems ORDER BY line LIMIT {MAX_PROBLEMS}"
    ).fetchall()
    return unresolved, doubles, tuple(IdProblem(*row) for row in first)
