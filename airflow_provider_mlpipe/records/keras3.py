"""Pins Keras 3. Every executor that loads tensorflow or tensorflow_transform must import this module before them.

If tensorflow_transform is imported first, it turns `tf.keras` into the legacy Keras 2 for the whole process. The
meaning of `tf.keras` in user code would then depend on the order of imports. If the environment sets the variable, its
value is kept.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "0")
