"""What CsvExampleGen's executor gets when its operator is given no such parameter. Light: benchmarks import it, too."""

from __future__ import annotations

from typing import Any

CSV_PARAMETERS: dict[str, Any] = {
    "null_values": (),
    "delimiter": ",",
    "quote": '"',
    "encoding": "utf-8",
    "shuffle_seed": None,
}
