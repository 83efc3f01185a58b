"""The metadata schema's version: upgrades the schema, or checks that this code can use it."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from airflow_provider_mlpipe.exceptions import InvalidInputError, SchemaVersionError
from airflow_provider_mlpipe.metadata.connection import Address, Connection, translated

_MIGRATIONS = Path(__file__).parent / "migrations"
_one_at_a_time = threading.Lock()


def newest_version() -> str:
    """Return the version that this code needs: the number of the last migration, `0001_what.py`."""
    return max(path.name[:4] for path in (_MIGRATIONS / "versions").iterdir() if re.match(r"\d{4}_", path.name))


def upgrade(address: str | Address) -> None:
    """Create or upgrade the schema in one transaction.

    Several processes may call it at once: an advisory lock orders them. If the schema is current already, nothing is
    done, and the user needs only the right to read. Raises StoreUnavailableError, SchemaVersionError when the schema is
    newer than this code, and InvalidInputError when the database's encoding is not UTF-8 or the user may not create the
    schema or its tables.
    """
    # Imported here: only `airflow mlpipe db` needs them, and the import takes longer than a cached component.
    from alembic import command
    from alembic.config import Config
    from sqlalchemy.exc import DBAPIError

    connection = Connection(address)
    try:
        if (found := _version(connection)) and found > newest_version():
            raise _newer(found)
        if found == newest_version():
            return
        _check_encoding(connection)
        _check_rights(connection)
    finally:
        connection.close()
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["address"] = address
    with _one_at_a_time:  # Alembic's context is global to the process
        try:
            command.upgrade(config, "head")
        except DBAPIError as error:
            raise translated(error.orig) from error


def check(dsn: str) -> None:
    """Raise SchemaVersionError unless the schema has exactly the version that this code needs."""
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
            f"the metadata schema is at version {found}, but this code needs {known}: run `airflow mlpipe db upgrade`"
        )


def _check_encoding(connection: Connection) -> None:
    (row,) = connection.run("SELECT current_database() AS database, current_setting('server_encoding') AS encoding")
    if row["encoding"] != "UTF8":
        raise InvalidInputError(
            f"the database {row['database']!r} has the encoding {row['encoding']}, but names and paths need UTF8. "
            "Create it with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0, or with --create-database"
        )


def _check_rights(connection: Connection) -> None:
    (row,) = connection.run(
        "SELECT current_database() AS database, current_user AS role, to_regnamespace('mlpipe') IS NULL AS missing, "
        "has_database_privilege(current_database(), 'CREATE') AS may_create_schemas, "
        "has_schema_privilege(to_regnamespace('mlpipe'), 'CREATE') AS may_create_tables"
    )
    role, database = row["role"], row["database"]
    if row["missing"] and not row["may_create_schemas"]:
        raise InvalidInputError(
            f"the user {role!r} may not create the schema mlpipe in the database {database!r}. "
            f'Ask a database administrator to run there: CREATE SCHEMA mlpipe AUTHORIZATION "{role}"'
        )
    if not row["missing"] and not row["may_create_tables"]:
        raise InvalidInputError(
            f"the user {role!r} may not create tables in the schema mlpipe of the database {database!r}. "
            "Upgrade as the user who owns the schema"
        )


def _version(connection: Connection) -> str | None:
    # to_regclass first: a query of a missing table would fail, and write an error to the server's log.
    if connection.run("SELECT to_regclass('mlpipe.alembic_version') IS NULL AS missing")[0]["missing"]:
        return None
    rows = connection.run("SELECT version_num FROM mlpipe.alembic_version")
    return str(rows[0]["version_num"]) if rows else None


def _newer(found: str) -> SchemaVersionError:
    return SchemaVersionError(
        f"the metadata schema is at version {found}, newer than this code, which needs {newest_version()}: "
        "upgrade the package airflow-provider-mlpipe"
    )
