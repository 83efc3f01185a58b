"""The metadata schema's version: bring it up to date, or check that it is the one this code knows."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from airflow_provider_mlpipe.exceptions import InvalidInputError, SchemaVersionError
from airflow_provider_mlpipe.metadata.connection import Connection, translated

_MIGRATIONS = Path(__file__).parent / "migrations"
_one_at_a_time = threading.Lock()


def newest_version() -> str:
    """Return the version this code knows: migrations are numbered, `0001_what.py`."""
    return max(path.name[:4] for path in (_MIGRATIONS / "versions").iterdir() if re.match(r"\d{4}_", path.name))


def upgrade(dsn: str) -> None:
    """Create or upgrades the schema, all of it or nothing.

    Processes may race (an advisory lock orders them). Raises StoreUnavailableError, SchemaVersionError when the schema
    is newer than this code, and InvalidInputError when the database does not hold UTF-8.
    """
    # Imported here: only `airflow mlpipe db` needs them, and they take longer than a cached component.
    from alembic import command
    from alembic.config import Config
    from sqlalchemy.exc import DBAPIError

    connection = Connection(dsn)
    try:
        if (found := _version(connection)) and found > newest_version():
            raise _newer(found)
        _check_encoding(connection)
    finally:
        connection.close()
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["dsn"] = dsn
    with _one_at_a_time:  # Alembic's context is global to the process
        try:
            command.upgrade(config, "head")
        except DBAPIError as error:
            raise translated(error.orig) from error


def check(dsn: str) -> None:
    """Raise SchemaVersionError unless the schema is exactly the one this code knows; the message says the remedy."""
    connection = Connection(dsn)
    try:
        check_with(connection)
    finally:
        connection.close()


def check_with(connection: Connection) -> None:
    """Do what `check` does, over an open connection."""
    found, known = _version(connection), newest_version()
    if found is None:
        raise SchemaVersionError("the metadata store has no schema yet: run `airflow mlpipe db upgrade`")
    if found > known:
        raise _newer(found)
    if found < known:
        raise SchemaVersionError(
            f"the metadata schema is at version {found} and this code needs {known}: run `airflow mlpipe db upgrade`"
        )


def _check_encoding(connection: Connection) -> None:
    (row,) = connection.run("SELECT current_database() AS database, current_setting('server_encoding') AS encoding")
    if row["encoding"] != "UTF8":
        raise InvalidInputError(
            f"the database {row['database']!r} has the encoding {row['encoding']}, and names and paths need UTF8: "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0, or let --create-database make it"
        )


def _version(connection: Connection) -> str | None:
    # to_regclass first: a query that names a missing table is an error, and would leave one in the server's log.
    if connection.run("SELECT to_regclass('mlpipe.alembic_version') IS NULL AS missing")[0]["missing"]:
        return None
    rows = connection.run("SELECT version_num FROM mlpipe.alembic_version")
    return str(rows[0]["version_num"]) if rows else None


def _newer(found: str) -> SchemaVersionError:
    return SchemaVersionError(
        f"the metadata schema is at version {found}, newer than this code, which knows {newest_version()}: "
        "upgrade the package airflow-provider-mlpipe"
    )
