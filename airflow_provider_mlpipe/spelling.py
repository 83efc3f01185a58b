"""Which known name a user may have meant by one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(given: str, known: Iterable[str]) -> str | None:
    """Ask for the known name that is most like the given one, whatever their cases; None if no name is like it."""
    names = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(given.casefold(), names, n=1)
    return f"did you mean {names[close[0]]}?" if close else None
