"""The Airflow hook that connects to the metadata store, from an Airflow connection of type `mlpipe`."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.metadata.connection import Address, libpq_value, make_dsn
from airflow_provider_mlpipe.metadata.store import MetadataStore


class MlpipeHook(BaseHook):
    """The metadata store of an Airflow connection: its host, port, login, password and schema (the database)."""

    conn_name_attr = "metadata_conn_id"
    default_conn_name = "mlpipe_default"
    conn_type = "mlpipe"
    hook_name = "ML pipeline metadata (Postgres)"

    def __init__(self, metadata_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.metadata_conn_id = metadata_conn_id

    def get_conn(self) -> MetadataStore:
        """The store; raises StoreUnavailableError or SchemaVersionError at its first use."""
        return self.store

    @functools.cached_property
    def address(self) -> Address:
        """Where the store is. The connection's extras are passed on to libpq.

        Raises InvalidInputError when Airflow does not know the connection, or libpq does not take an extra.
        """
        return self._read()

    @functools.cached_property
    def store(self) -> MetadataStore:
        """The store of this connection. If it cannot be reached, it reads the connection again."""
        return MetadataStore(self.address)

    def _read(self) -> Address:
        try:
            connection = self.get_connection(self.metadata_conn_id)
        except AirflowNotFoundException as error:
            raise InvalidInputError(
                f"Airflow has no connection {self.metadata_conn_id!r}; make one: airflow connections add "
                f"{self.metadata_conn_id} --conn-type mlpipe --conn-host HOST --conn-schema DATABASE --conn-login USER"
            ) from error
        source = f"the Airflow connection {self.metadata_conn_id!r}"
        try:
            return Address(make_dsn(**_settings(connection)), source, read_again=self._read)
        except InvalidInputError as error:
            raise InvalidInputError(f"the extra of {source}: {error}") from error

    def test_connection(self) -> tuple[bool, str]:
        """For the "Test" button of Airflow's connection form."""
        try:
            self.store.check()
        except Exception as error:  # noqa: BLE001 - the form shows any error
            return False, str(error)
        return True, "The metadata store answers and its schema is current."


def _settings(connection: Connection) -> dict[str, str]:
    """The settings for libpq: a connection's fields and its extra. What is null or empty counts as not given."""
    fields = {
        "host": ("Host", connection.host),
        "port": ("Port", connection.port),
        "user": ("Login", connection.login),
        "password": ("Password", connection.password),
        "dbname": ("Database", connection.schema),
    }
    settings = {name: str(value) for name, (_, value) in fields.items() if value}
    for name, value in _extra(connection).items():
        if value is None or value == "":
            continue
        if name in settings:
            raise InvalidInputError(f"{name!r} is given in the field {fields[name][0]}, too: remove one of them")
        settings[name] = libpq_value(name, value)
    return settings


def _extra(connection: Connection) -> Mapping[str, Any]:
    try:
        given = json.loads(connection.extra or "{}")
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise InvalidInputError('it is not a JSON object: write it like {"sslmode": "require"}')
    return connection.extra_dejson  # the same; but Airflow hides its secrets in logs from now on
