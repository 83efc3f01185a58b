"""Rounds floats as TFDV's feature_skew_detector does: as Python's `round`, which rounds the exact decimal value."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]

_EXACT_POWERS = 22
"""10 to a power up to this one is exact in a double, and so the quotient below is the double next to the decimal."""
_WHOLE = float(1 << 24)
"""Each float32 from here on is a whole number."""
_PRECISE = 1e9
"""Up to here a product has an error below _NEAR_HALF."""
_NEAR_HALF = 1e-6


def rounded(values: Floats, digits: int) -> Floats:
    """Round each value to `digits` digits after the decimal point; ties go to the even digit."""
    result = values.astype(np.float64)
    places = np.flatnonzero(np.abs(result) < _WHOLE)
    exact = result[places]
    power = 10.0 ** min(digits, _EXACT_POWERS)
    scaled = exact * power
    result[places] = np.rint(scaled) / power
    near_tie = np.abs(np.abs(scaled - np.trunc(scaled)) - 0.5) < _NEAR_HALF
    slowly = near_tie | (np.abs(scaled) > _PRECISE) | (digits > _EXACT_POWERS)
    result[places[slowly]] = [round(value, digits) for value in exact[slowly].tolist()]
    return result.astype(np.float32)
