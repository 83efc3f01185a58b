"""How the cells of a CSV file are separated and quoted. Light: operators check it when a DAG file is parsed."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_LINE_ENDS = "\r\n\0"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One ASCII character each: `delimiter` is between cells, `quote` around those that hold one; "" quotes nothing.

    Two quotes within a quoted cell are one that is data.
    """

    delimiter: str = ","
    quote: str = '"'

    def rows(self, lines: Iterable[str]) -> Any:
        """Return Python's reader of lines that keep their ends."""
        if not self.quote:
            return csv.reader(lines, delimiter=self.delimiter, quotechar=None, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote)


def dialect_problem(*, delimiter: str = ",", quote: str | None = None, encoding: str = "utf-8") -> str | None:
    """Return what is wrong with these and the remedy, or None."""
    if not _is_one_character(delimiter):
        return f"delimiter must be one ASCII character and no line break, but it is {delimiter!r}; a tab is '\\t'"
    if quote and not _is_one_character(quote):
        return f"quote must be one ASCII character and no line break, but it is {quote!r}; None quotes nothing"
    if quote == delimiter:
        return f"quote and delimiter are both {quote!r}; give another quote, or None, which quotes nothing"
    try:
        ",\n".encode(encoding).decode(encoding)
        codecs.getincrementaldecoder(encoding)
    except (LookupError, ValueError) as error:
        return f"encoding must be one that Python knows for text, such as 'latin-1' or 'utf-16': {error}"
    return None


def _is_one_character(text: str) -> bool:
    return len(text) == 1 and text.isascii() and text not in _LINE_ENDS
