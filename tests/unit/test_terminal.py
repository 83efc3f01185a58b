"""What people print from the store must not be obeyed by their terminal."""

from __future__ import annotations

import pytest

from airflow_provider_mlpipe.terminal import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07gone", "\\x1b[2J\\x1b]0;title\\x07gone"),
        ("one\rtwo\x08", "one\\rtwo\\x08"),
        ("abc\u202ecba", "abc\\u202ecba"),
        ("\x9b31m", "\\x9b31m"),
        ("Grüße,\t日本 🎉\xa0\nnext line", "Grüße,\t日本 🎉\xa0\nnext line"),
    ],
)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    assert plain(text) == shown
