"""Waiting for what another process does: a condition with a deadline, never a guess of a delay."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300.0
"""So many seconds a test waits for what never takes as long, on a busy machine either: they pass if it never comes."""


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Returns soon after the condition holds. What takes long to tell, as by the API, is asked less often."""
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if condition():
            return
        assert asked < deadline, "it did not come to pass"
        time.sleep(max(0.01, 5 * (time.monotonic() - asked)))
