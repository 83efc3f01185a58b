"""Recognises by its first bytes what a file holds in place of text, to say so in an error."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

GZIP, UTF_16, UTF_32 = "gzip", "text in UTF-16", "text in UTF-32"

_DECOMPRESS = "decompress it first"
_EXPORT = "export it as CSV in UTF-8"
_ENCODE = "convert it to UTF-8"

_KINDS = (
    (b"\x1f\x8b", GZIP, f"{_DECOMPRESS} (gunzip)"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook (.xlsx)", f"unzip it, or {_EXPORT}"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (.xls)", _EXPORT),
    (b"BZh", "bzip2", f"{_DECOMPRESS} (bunzip2)"),
    (b"\xfd7zXZ\0", "xz", f"{_DECOMPRESS} (unxz)"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", f"{_DECOMPRESS} (unzstd)"),
    (b"PAR1", "Parquet", _EXPORT),
    (b"Obj\x01", "Avro", _EXPORT),
    (b"ORC", "ORC", _EXPORT),
    (b"ARROW1", "Arrow", _EXPORT),
    (b"SQLite format 3\0", "an SQLite database", _EXPORT),
    (b"%PDF-", "a PDF", _EXPORT),
    (b"\xff\xfe\0\0", UTF_32, _ENCODE),
    (b"\0\0\xfe\xff", UTF_32, _ENCODE),
    (b"\xff\xfe", UTF_16, _ENCODE),
    (b"\xfe\xff", UTF_16, _ENCODE),
)
_TEXT_STARTS = {b"BZh", b"PAR1", b"ORC"}
"""The first bytes that a text may have, too."""


HEAD_BYTES = 512
"""How many bytes of a file's start are enough to recognise it."""


def other_than_text(head: bytes, remedies: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """Return what the file with this head holds and the remedy, if it holds no text in UTF-8; None if it may.

    `remedies` are better ones, by kind.
    """
    for start, kind, remedy in _KINDS:
        if head.startswith(start) and not (start in _TEXT_STARTS and _is_text(head)):
            return f"holds {kind}, not text in UTF-8; {remedies.get(kind, remedy)}"
    return None


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and b"\n" in head
