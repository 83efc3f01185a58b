"""A store over a real database, a bench for tries that are killed, starved or held, and a way to plan and run DAGs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench
from planned import Pipeline

from airflow_provider_mlpipe.metadata.store import MetadataStore


@pytest.fixture
def store(database: str) -> Iterator[MetadataStore]:
    store = MetadataStore(database)
    yield store
    store.close()


@pytest.fixture
def bench(database: str, tmp_path: Path) -> Bench:
    barriers = tmp_path / "barriers"
    barriers.mkdir()
    return Bench(database, tmp_path / "root", barriers)


@pytest.fixture
def pipeline(database: str, tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(database, tmp_path / "root")
    yield made
    made.store.close()
