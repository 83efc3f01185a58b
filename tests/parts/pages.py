"""The code that the README and the docs tell people to type."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def text_of(page: str) -> str:
    """The text of a page, such as "docs/components.md"."""
    return (CHECKOUT / page).read_text()


def files_of(page: str) -> dict[str, str]:
    """The Python files of a page, by name: its code blocks that begin with the file's name, in their order."""
    return dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text_of(page), re.DOTALL))
