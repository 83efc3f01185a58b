"""Which statistics of Transform a `stats_options_updater_fn` is asked for."""

from __future__ import annotations

from enum import Enum


class StatsType(Enum):
    """Statistics of the rows before or after the transformation; names and values are TFX's."""

    UNKNOWN = 0
    PRE_TRANSFORM = 1
    POST_TRANSFORM = 2
