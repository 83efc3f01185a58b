"""The store's SQL, by name."""

from __future__ import annotations

import re
from pathlib import Path

_NAMED = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load() -> dict[str, str]:
    """Return the statements of `queries.sql` by name."""
    _, *parts = _NAMED.split(Path(__file__).with_name("queries.sql").read_text(encoding="utf-8"))
    return dict(zip(parts[::2], parts[1::2], strict=True))
