"""Which known name a user may have meant by one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_LISTED = 20


def did_you_mean(given: str, known: Iterable[str]) -> str | None:
    """Ask for the known name that is most like the given one, whatever their cases; None if no name is like it."""
    names = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(given.casefold(), names, n=1, cutoff=0.7)
    return f"did you mean {names[close[0]]}?" if close else None


def by_likeness(given: str, known: Iterable[str]) -> list[str]:
    """Sort the known names: those first that are most like the given one."""
    matcher = difflib.SequenceMatcher(b=given.casefold())
    alike = {}
    for name in sorted(known):
        matcher.set_seq1(name.casefold())
        alike[name] = matcher.ratio()
    return sorted(alike, key=lambda name: -alike[name])


def listed(names: Sequence[str]) -> str:
    """List the first names, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"
