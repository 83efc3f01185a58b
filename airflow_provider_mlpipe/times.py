"""Times in ISO 8601."""

from __future__ import annotations

import re
from datetime import datetime, timezone


def from_iso(text: str) -> datetime:
    """The time in `text`, in UTC if it names no time zone; raises ValueError when `text` is not a time."""
    time = datetime.fromisoformat(re.sub("Z$", "+00:00", text))  # Python 3.10 does not read the Z
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
