"""Text for a terminal."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """The text with escapes for the characters that a terminal would obey, such as those that move its cursor.

    Line breaks and tabs stay. What is printed here may come from anybody who has run a pipeline.
    """
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()
