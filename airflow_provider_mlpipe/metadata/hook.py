"""The Airflow hook that connects to the metadata store, from an Airflow connection of type `mlpipe`."""

from __future__ import annotations

import functools
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.metadata.connection import make_dsn
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
    def dsn(self) -> str:
        """The libpq connection string; extras such as `sslmode` are passed on.

        Raises InvalidInputError when Airflow does not know the connection.
        """
        try:
            connection = self.get_connection(self.metadata_conn_id)
        except AirflowNotFoundException as error:
            raise InvalidInputError(
                f"Airflow has no connection {self.metadata_conn_id!r}; make one: airflow connections add "
                f"{self.metadata_conn_id} --conn-type mlpipe --conn-host HOST --conn-schema DATABASE --conn-login USER"
            ) from error
        known = {
            "host": connection.host,
            "port": connection.port,
            "user": connection.login,
            "password": connection.password,
            "dbname": connection.schema,
        }
        return make_dsn(**{key: value for key, value in known.items() if value}, **connection.extra_dejson)

    @functools.cached_property
    def store(self) -> MetadataStore:
        """The store of this connection."""
        return MetadataStore(self.dsn)

    def test_connection(self) -> tuple[bool, str]:
        """For the "Test" button of Airflow's connection form."""
        try:
            self.store.check()
        except Exception as error:  # noqa: BLE001 - the form shows any error
            return False, str(error)
        return True, "The metadata store answers and its schema is current."
