"""Times in ISO 8601."""

from __future__ import annotations

import re
from datetime import datetime, timezone


def from_iso(text: str) -> datetime:
    """The time, in UTC where `text` names no zone; raises ValueError when it is none."""
    time = datetime.fromisoformat(re.sub("Z$", "+00:00", text))  # Python 3.10 does not read the Z
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
