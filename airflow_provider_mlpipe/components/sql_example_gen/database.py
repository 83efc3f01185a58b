"""Connects to the database of an Airflow connection, and says which of its errors are worth a retry.

Postgres is read with psycopg2, which this package needs anyway; others with the hook of their Airflow provider.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError, TransientError

_POSTGRES = ("postgres", "postgresql")
_MAY_PASS = ("OperationalError", "InterfaceError")
"""The names of DB-API's errors (PEP 249) that are not about the query."""

_ABOUT_THE_QUERY = re.compile(r"^(no such|near |unrecognized|incomplete input)|syntax error", re.IGNORECASE)
"""Some drivers (SQLite's) call an error in the query an OperationalError, too."""


class Database:
    """The database of a connection, given as the dict of its fields: conn_type, host, port, login, password, …"""

    def __init__(self, conn_id: str, fields: Mapping[str, Any]) -> None:
        self._conn_id = conn_id
        self._fields = fields
        self.is_postgres = fields.get("conn_type") in _POSTGRES

    @property
    def place(self) -> str:
        """Where it is, without who asks: this counts in the fingerprint."""
        names = ("conn_type", "host", "port", "schema")
        return " ".join(f"{name}={self._fields[name]}" for name in names if self._fields.get(name))

    @contextlib.contextmanager
    def cursor(self, timeout: float | None = None, rows_at_once: int | None = None) -> Iterator[Any]:
        """A DB-API cursor; with `rows_at_once` it streams, if the database can. Nothing is written or committed.

        After `timeout` seconds Postgres ends a statement. Raises InvalidInputError for an error in the query, and
        TransientError when the database cannot be reached or the connection breaks.
        """
        with (
            self._translated(),
            closing(self._connect(timeout)) as connection,
            closing(self._cursor(connection, rows_at_once)) as cursor,
        ):
            yield cursor

    def _connect(self, timeout: float | None) -> Any:
        if self.is_postgres:
            import psycopg2  # here: other executors know no database

            connection = psycopg2.connect(**_libpq(self._fields, timeout))
            connection.set_session(readonly=True)
            return connection
        return self._hook().get_conn()

    def _hook(self) -> Any:
        from airflow.sdk import BaseHook

        try:
            return BaseHook.get_hook(self._conn_id)
        except Exception as error:
            raise InvalidInputError(
                f"no hook can be loaded for the Airflow connection {self._conn_id!r}, whose type is "
                f"{self._fields.get('conn_type')!r} ({error}); install its Airflow provider"
            ) from error

    def _cursor(self, connection: Any, rows_at_once: int | None) -> Any:
        if not (self.is_postgres and rows_at_once):
            return connection.cursor()
        cursor = connection.cursor("mlpipe")  # with a name it is the server's: rows come as they are fetched
        cursor.itersize = rows_at_once
        return cursor

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except MlpipeError:
            raise
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            kinds = {kind.__name__ for kind in type(error).__mro__}
            message = f"the database of the Airflow connection {self._conn_id!r} says: {said}"
            if kinds.isdisjoint(_MAY_PASS) or _ABOUT_THE_QUERY.search(said):
                raise InvalidInputError(f"{message}; correct the query") from error
            raise TransientError(message) from error


def _libpq(fields: Mapping[str, Any], timeout: float | None) -> dict[str, Any]:
    names = {"host": "host", "port": "port", "user": "login", "password": "password", "dbname": "schema"}
    given = {setting: fields[name] for setting, name in names.items() if fields.get(name)}
    settings = {"connect_timeout": 10, "application_name": "mlpipe", **_extra(fields), **given}
    if timeout is not None:
        settings["options"] = f"{settings.get('options', '')} -c statement_timeout={int(timeout * 1000)}".strip()
    return settings


def _extra(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The settings for libpq among the extras; the provider's own are no business of libpq."""
    extra = fields.get("extra") or {}
    return {name: value for name, value in extra.items() if name.startswith(("ssl", "keepalives", "target_session"))}
