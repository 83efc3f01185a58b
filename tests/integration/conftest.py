"""A bench for tries that are killed, starved or held."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import Bench


@pytest.fixture
def bench(database: str, tmp_path: Path) -> Bench:
    barriers = tmp_path / "barriers"
    barriers.mkdir()
    return Bench(database, tmp_path / "root", barriers)
