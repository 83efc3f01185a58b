"""Pins Keras 3. To be imported before tensorflow and tensorflow_transform, by every executor that loads them.

tensorflow_transform, when it is imported first, turns `tf.keras` into the legacy Keras 2 for the whole process; what
`tf.keras` means to a user would then depend on the order of imports. An environment that sets the variable keeps it.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "0")
