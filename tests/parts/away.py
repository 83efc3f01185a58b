"""A database that is away for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_mlpipe.metadata.connection import Connection


@contextmanager
def away(database: str) -> Iterator[None]:
    """A store that lets nobody in, and has thrown out who was."""
    admin = Connection(database.rpartition("/")[0] + "/postgres")
    name = database.rpartition("/")[2]
    try:
        admin.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %(name)s", {"name": name})
        yield
    finally:
        admin.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        admin.close()
