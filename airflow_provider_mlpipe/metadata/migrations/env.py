"""Alembic's entry point: runs the migrations in one transaction, one process at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, pool, text

from airflow_provider_mlpipe.metadata.connection import SAFE_SEARCH_PATH, Connection

_LOCK = 6_357_041_928_301  # a random number that no other program uses


def run() -> None:
    """Upgrade the database at the address in `config.attributes`."""
    store = Connection(context.config.attributes["address"])
    engine = create_engine("postgresql+psycopg2://", creator=store.new_raw, poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text(SAFE_SEARCH_PATH))
        # Alembic reads the version only after this, so a second process finds that the schema is upgraded.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        # IF NOT EXISTS would need the right to create schemas although the schema is there.
        if connection.scalar(text("SELECT to_regnamespace('mlpipe') IS NULL")):
            connection.execute(text("CREATE SCHEMA mlpipe"))
        # In a schema of its own: Airflow's own table is also named alembic_version.
        context.configure(connection=connection, version_table_schema="mlpipe")
        with context.begin_transaction():
            context.run_migrations()


run()
