"""The connection to Postgres: the only module that uses psycopg2. It translates psycopg2's errors."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import psycopg2
from psycopg2 import errors, extensions, sql

from airflow_provider_mlpipe.exceptions import (
    InvalidInputError,
    InvalidValueError,
    MlpipeError,
    PermanentError,
    SchemaVersionError,
    StoreUnavailableError,
    TransientError,
)

Row = dict[str, Any]

# A server that disappears without closing its connections is noticed after a minute, not after the kernel's 15 minutes.
_DEFAULTS = {
    "application_name": "mlpipe",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}

PAUSE_SECONDS = 10.0
"""How long a statement that waits for the store waits before it is sent again."""

SAFE_SEARCH_PATH = "SET LOCAL search_path = pg_catalog, pg_temp"
"""Without it, who may create functions and operators in some schema could have them run as this user.

It is sent in one message with each statement: a pooler such as pgbouncer may take another session for the next one.
"""

_OF_TRANSACTIONS = frozenset({"BEGIN", "COMMIT", "ROLLBACK"})

_SWITCHES = frozenset({"gssdelegation", "keepalives", "replication", "requiressl", "sslcompression", "sslsni"})
"""libpq's settings that are 1 or 0."""

_OF_PSYCOPG2 = frozenset({"dsn", "database"})
"""What psycopg2 takes besides libpq's settings."""

# How libpq says that it does not take the value of a setting. The server's own messages begin with FATAL there.
_REFUSED_SETTING = re.compile(r"(?:^|failed: )(?P<problem>invalid .*)")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where the store is: a libpq connection string or URL.

    `source` is how errors name the place that says so. `read_again` asks that place anew, such as for a new password.
    """

    dsn: str = field(repr=False)  # it may contain a password
    source: str = "the store's address"
    read_again: Callable[[], Address] | None = None

    @staticmethod
    def of(given: str | Address) -> Address:
        """An address as it is, and that of a connection string."""
        return given if isinstance(given, Address) else Address(given)


class _Session(threading.local):
    """A thread's open connection."""

    raw: extensions.connection | None = None
    pid = 0
    in_transaction = False
    patience = timedelta()


def make_dsn(**keywords: str | int) -> str:
    """A libpq connection string from its keywords (`host`, `dbname`, `sslmode`, …), quoted where necessary."""
    return str(extensions.make_dsn(**{keyword: str(value) for keyword, value in keywords.items()}))


def libpq_value(setting: str, value: object) -> str:
    """Return the value of a libpq setting as libpq reads it; the value comes from JSON.

    Raises InvalidInputError, which says what is wrong and what to do, for a setting that libpq does not have, and for
    a value that is neither text nor a number, nor a boolean where libpq takes 1 or 0.
    """
    if setting in _OF_PSYCOPG2 or not _is_setting(setting):
        raise InvalidInputError(f"{setting!r} is no setting of libpq: remove it, or write libpq's name of it")
    if isinstance(value, bool) and setting in _SWITCHES:
        return str(int(value))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidInputError(
            f"{setting!r} is {json.dumps(value)}, which libpq does not take: write the value as text, or remove it"
        )
    return str(value)


def _is_setting(name: str) -> bool:
    try:
        extensions.make_dsn(**{name: ""})
    except psycopg2.ProgrammingError:
        return False
    return True


def create_database(address: str | Address) -> bool:
    """Create the database that an address names, over the database `postgres`; return False if it exists already.

    Raises StoreUnavailableError, and InvalidInputError when no database is named or the user may not create one.
    """
    address = Address.of(address)
    if _answers(Connection(address)):
        return False
    name = extensions.parse_dsn(address.dsn).get("dbname")
    if not name:
        raise InvalidInputError(f"{address.source} names no database: enter its name in the field Database")
    connection = Connection(replace(address, dsn=make_dsn(dsn=address.dsn, dbname="postgres"), read_again=None))
    statement = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name))
    try:
        connection.run_alone(statement)
    except PermanentError as error:
        if isinstance(error.__cause__, errors.DuplicateDatabase | errors.UniqueViolation):
            return False  # another process created it meanwhile
        raise InvalidInputError(
            f"{error}. Ask a database administrator to run: "
            f"CREATE DATABASE \"{name}\" ENCODING 'UTF8' TEMPLATE template0"
        ) from error
    finally:
        connection.close()
    return True


def _answers(connection: Connection) -> bool:
    try:
        connection.run("SELECT")
    except StoreUnavailableError:
        return False
    finally:
        connection.close()
    return True


class Connection:
    """A lazy connection per thread and process, so that threads and forks do not share a session.

    Outside a transaction a statement is sent a second time when its connection broke (over a new one), or when Postgres
    cancelled it to resolve a deadlock; with `patience`, again and again. After a break, Postgres may have run the first
    one although its reply was lost. **So every statement outside a transaction must be idempotent**. The store's are,
    because of the claim token.
    """

    def __init__(self, address: str | Address) -> None:
        """Take an address, or a libpq connection string or URL.

        Raises InvalidInputError when it is neither. The message does not repeat it, since it may contain a password.
        """
        self._address = Address.of(address)
        self._arguments = _arguments(self._address)
        self._session = _Session()

    def run(self, statement: str | sql.Composable, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run one statement and return its rows; outside a transaction it is committed at once.

        Raises StoreUnavailableError, TransientError (deadlock, timeout), SchemaVersionError (no such table), or
        InvalidValueError (a value or reference that Postgres refuses).
        """
        give_up_at = time.monotonic() + self._session.patience.total_seconds()
        while True:
            try:
                return self._run(statement, parameters)
            except StoreUnavailableError as error:
                if self._session.in_transaction or time.monotonic() >= give_up_at:
                    raise
                log.warning("the store is away; waits for it, %s at most: %s", self._session.patience, error)
                time.sleep(PAUSE_SECONDS)

    def run_alone(self, statement: str | sql.Composable) -> None:
        """Run a statement that Postgres takes outside a transaction only, such as CREATE DATABASE."""
        self._send(self._opened(), statement, None, guarded=False)

    @contextmanager
    def patience(self, patience: timedelta) -> Iterator[None]:
        """In the `with` block, each of this thread's statements outside a transaction waits so long for the store."""
        before, self._session.patience = self._session.patience, patience
        try:
            yield
        finally:
            self._session.patience = before

    def _run(self, statement: str | sql.Composable, parameters: Mapping[str, Any] | None) -> list[Row]:
        raw = self._opened()
        try:
            return self._send(raw, statement, parameters)
        except TransientError as error:
            is_rolled_back = isinstance(error.__cause__, extensions.TransactionRollbackError)
            if self._session.in_transaction or not (is_rolled_back or isinstance(error, StoreUnavailableError)):
                raise
            return self._send(self._opened(), statement, parameters)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the `with` block's statements in one transaction (of this thread), or in the one that is open already.

        If the connection breaks inside, no statement is sent again. StoreUnavailableError is raised, and nothing was
        committed, unless the connection broke during the commit.
        """
        if self._session.in_transaction:
            yield
            return
        self.run("BEGIN")
        self._session.in_transaction = True
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._session.in_transaction = False

    def close(self) -> None:
        """Close this thread's connection; the next statement opens a new one."""
        session = self._session
        if session.raw is not None and session.pid == os.getpid():
            session.raw.close()
        session.raw = None

    def new_raw(self) -> extensions.connection:
        """Open a separate connection for Alembic, which manages its transactions itself.

        Raises StoreUnavailableError.
        """
        raw = self._connected()
        raw.autocommit = False
        return raw

    def _opened(self) -> extensions.connection:
        session = self._session
        if session.raw is not None and session.pid == os.getpid():
            return session.raw
        # After a fork the parent's connection is dropped, not closed: psycopg2 does not touch its socket in a child.
        if session.in_transaction:
            raise StoreUnavailableError(f"the connection to {self._where} was lost inside a transaction")
        session.raw, session.pid = self._connected(), os.getpid()
        return session.raw

    def _connected(self) -> extensions.connection:
        tried = self._arguments
        try:
            return self._connect()
        except StoreUnavailableError as away:
            self._read_again()
            if self._arguments == tried:
                raise
            try:
                return self._connect()
            except InvalidInputError as error:  # who made this mistake may still correct it
                self._arguments = tried
                raise away from error

    def _read_again(self) -> None:
        """Ask again where the store is: its password may be a new one.

        This is not only done after a refused password: the server says in its own language why it refuses.
        """
        if self._address.read_again is None:
            return
        try:
            self._arguments = _arguments(self._address.read_again())
        except Exception as error:  # noqa: BLE001 - Airflow may be away, too; the first error is the one to raise
            log.warning("%s could not be read again: %s", self._address.source, error)

    def _connect(self) -> extensions.connection:
        try:
            raw: extensions.connection = psycopg2.connect(**self._arguments)
        except psycopg2.OperationalError as error:
            raise self._unconnected(_text(error)) from error
        raw.autocommit = True
        return raw

    def _unconnected(self, text: str) -> MlpipeError:
        """The error when libpq could not connect and said `text`."""
        if refused := _REFUSED_SETTING.search(text):
            return InvalidInputError(
                f"{self._address.source} has a setting that libpq does not take: {refused['problem']}. "
                "Correct it in the connection's fields or its extra"
            )
        remedy = "Check that Postgres runs there and that the Airflow connection names it"
        if f'database "{self._arguments.get("dbname")}" does not exist' in text:
            remedy = "Create it: `airflow mlpipe db upgrade --create-database`"
        return StoreUnavailableError(f"cannot connect to the metadata store at {self._where}: {text}. {remedy}")

    def _send(
        self,
        raw: extensions.connection,
        statement: str | sql.Composable,
        parameters: Mapping[str, Any] | None,
        *,
        guarded: bool = True,
    ) -> list[Row]:
        try:
            with raw.cursor() as cursor:
                cursor.execute(_guarded(statement) if guarded else statement, parameters)
                if cursor.description is None:
                    return []
                names = [column.name for column in cursor.description]
                return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
        except psycopg2.Error as error:
            if raw.closed or _is_libpqs_own(error):
                self.close()
                raise StoreUnavailableError(f"the connection to {self._where} broke: {_text(error)}") from error
            raise translated(error) from error
        except ValueError as error:  # psycopg2 refuses a NUL character before it sends anything
            raise InvalidValueError(f"the store cannot hold this text: {error}") from error

    def _roll_back(self) -> None:
        raw, self._session.in_transaction = self._session.raw, False
        if raw is None:
            return
        with suppress(MlpipeError):  # a broken connection was rolled back already; the first error is the one to raise
            self._send(raw, "ROLLBACK", None)

    @property
    def _where(self) -> str:
        known = self._arguments
        host, port, database = known.get("host", "local socket"), known.get("port", "5432"), known.get("dbname", "")
        return f"{host}:{port}, database {database!r}"


def _arguments(address: Address) -> dict[str, Any]:
    try:
        return _DEFAULTS | extensions.parse_dsn(address.dsn)
    except psycopg2.ProgrammingError:
        raise InvalidInputError(
            f"{address.source} is not a Postgres connection string; expected e.g. postgresql://user@host:5432/dbname"
        ) from None


def _guarded(statement: str | sql.Composable) -> str | sql.Composable:
    """The statement with the safe search path before it. Postgres takes both as one transaction."""
    if isinstance(statement, sql.Composable):
        return sql.Composed([sql.SQL(f"{SAFE_SEARCH_PATH};\n"), statement])
    return statement if statement in _OF_TRANSACTIONS else f"{SAFE_SEARCH_PATH};\n{statement}"


def _is_libpqs_own(error: psycopg2.Error) -> bool:
    """Whether the error comes from libpq: it has no SQLSTATE, as the server's have, nor the class of a psycopg2 check.

    If a server has been gone for a minute, libpq reports that it cannot write, but does not mark the connection as bad.
    """
    return error.pgcode is None and type(error) in (psycopg2.DatabaseError, psycopg2.OperationalError)


def translated(error: BaseException | None) -> MlpipeError:
    """Return this package's error for an error of the driver."""
    text = _text(error)
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn | errors.InvalidSchemaName):
        return SchemaVersionError(f"the metadata schema has a wrong version: {text}. Run `airflow mlpipe db upgrade`")
    if isinstance(error, psycopg2.OperationalError | errors.ReadOnlySqlTransaction):
        return TransientError(f"Postgres cancelled a statement: {text}")
    if isinstance(error, psycopg2.DataError | psycopg2.IntegrityError):
        return InvalidValueError(f"Postgres refused a value: {text}")
    return PermanentError(f"Postgres refused a statement: {text}")


def _text(error: BaseException | None) -> str:
    return " ".join(str(error).split())
