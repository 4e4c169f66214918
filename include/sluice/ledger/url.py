"""The ledger's SQLAlchemy URL from the parts of an Airflow connection."""

from __future__ import annotations

from sqlalchemy import URL

from sluice.ledger.database import LedgerError


def connection_url(
    name: str,
    kind: str | None,
    *,
    host: str | None,
    login: str | None,
    password: str | None,
    port: int | None,
    schema: str | None,
) -> URL:
    """Return the URL that a connection of type `postgres` or `sqlite` means.

    A host that is a folder is that of the server's Unix socket; a SQLite file is the host, or the schema.
    Raises LedgerError, which calls the connection `name`, for any other type.
    """
    if kind == "sqlite":
        return URL.create("sqlite", database=host or schema)
    if kind not in ("postgres", "postgresql"):
        raise LedgerError(
            f"{name} is of type {kind!r}: the ledger runs on postgres (or sqlite on one machine)."
        )
    socket = host if host and host.startswith("/") else None
    return URL.create(
        "postgresql+psycopg2",
        username=login,
        password=password,
        host=None if socket else host or None,
        port=port,
        database=schema,
        query={"host": socket} if socket else {},
    )
