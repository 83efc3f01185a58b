"""How many random examples the equality tests draw: `make equality` asks for more than `make test`."""

from __future__ import annotations

import os

EXAMPLES = int(os.environ.get("MLPIPE_EXAMPLES", "2"))
