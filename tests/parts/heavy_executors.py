"""Executors that begin with an import of TensorFlow, so they are forked from a warm parent."""

from __future__ import annotations

import tensorflow  # noqa: F401
from parts_executors import use

__all__ = ["use"]
