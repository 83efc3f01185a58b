"""Fixtures that every test may use: a real Postgres, and a migrated database of one's own."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from airflow_provider_mlpipe.artifacts import ARTIFACT_TYPES
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.metadata.connection import Connection

# Before anything imports airflow, which makes its configuration there: not the user's own.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="mlpipe-airflow-home-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

# How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_TEMPLATE = "migrated"
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _artifact_types() -> Iterator[None]:
    """A class that a test's DAG file defines doesn't take the name from a class of another test."""
    before = dict(ARTIFACT_TYPES)
    yield
    ARTIFACT_TYPES.clear()
    ARTIFACT_TYPES.update(before)


@pytest.fixture
def open_tmp_path() -> Iterator[Path]:
    """A temporary folder which another user can enter; pytest's own is closed."""
    with tempfile.TemporaryDirectory(prefix="mlpipe-test-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """One Postgres for all tests of the session."""
    state_dir = Path(tempfile.mkdtemp(prefix="mlpipe-postgres-"))
    state_dir.chmod(0o755)
    with EmbeddedPostgres(state_dir, durable=False) as server:
        yield server
    shutil.rmtree(state_dir)


@pytest.fixture(scope="session")
def _migrated(postgres_server: EmbeddedPostgres) -> str:
    from airflow_provider_mlpipe.metadata.schema import upgrade

    dsn = postgres_server.create_database(_TEMPLATE)
    upgrade(dsn)
    _let_it_be_up_for_ever(dsn)
    return _TEMPLATE


def _let_it_be_up_for_ever(dsn: str) -> None:
    """In the template's copies, the server has not just started: else heartbeats of long ago would count as recent."""
    connection = Connection(dsn)
    with connection.transaction():
        connection.run("SET LOCAL allow_system_table_mods = on")
        connection.run("ALTER FUNCTION pg_catalog.pg_postmaster_start_time() RENAME TO pg_real_start_time")
        connection.run(
            "CREATE FUNCTION pg_catalog.pg_postmaster_start_time() RETURNS timestamptz "
            "LANGUAGE sql STABLE AS $$ SELECT '-infinity'::timestamptz $$"
        )
    connection.close()


@pytest.fixture
def database(postgres_server: EmbeddedPostgres, _migrated: str) -> Iterator[str]:
    """The DSN of a fresh, migrated database; dropped afterwards, whoever is still connected."""
    name = f"test_{next(_numbers)}"
    yield postgres_server.create_database(name, template=_migrated)
    postgres_server.drop_database(name)
