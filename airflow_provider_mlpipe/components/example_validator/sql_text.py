"""What can be seen of SQL checks without a database: when the DAG is parsed, and again when templates are rendered."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

NEEDS_EXAMPLES = "the SQL reads examples; give the operator their channel, such as examples=example_gen.outputs[...]"
NOT_ONE_SELECT = "the SQL is not one SELECT; write one that returns the offending rows"

_NAMES_TEXTS_COMMENTS = re.compile(r"""("(?:[^"]|"")*")|'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_READS_EXAMPLES = re.compile(r'\b(from|join)\s+("examples"|examples\b)', re.IGNORECASE)
_NAMES_ITS_OWN = re.compile(r'("examples"|\bexamples)\s+as\s+(not\s+)?(materialized\s+)?\(', re.IGNORECASE)
_QUERIES = ("SELECT", "WITH", "FROM", "VALUES")


def names_problem(checks: Sequence[Mapping[str, Any]]) -> str | None:
    """Say which check lacks its name or its SQL, or has the name of another; None if none does."""
    for number, check in enumerate(checks):
        for field in ("name", "sql"):
            if not check.get(field):
                return f"sql_checks[{number}] needs a {field}"
    names = Counter(check["name"] for check in checks if isinstance(check["name"], str))
    twice = next((name for name, count in names.items() if count > 1), None)
    return f"sql_checks has two checks with the name {twice!r}; rename one" if twice is not None else None


def sql_problem(sql: str, *, has_examples: bool) -> str | None:
    """Say why a text cannot be the SQL of a check, as far as its words tell; None if they do not."""
    code = _NAMES_TEXTS_COMMENTS.sub(_reduced, sql).strip()
    first = re.match(r"[\s(]*(\w*)", code)
    if first is None or first[1].upper() not in _QUERIES or ";" in code.rstrip("; \n\t"):
        return NOT_ONE_SELECT
    reads_examples = _READS_EXAMPLES.search(code) and not _NAMES_ITS_OWN.search(code)
    return NEEDS_EXAMPLES if reads_examples and not has_examples else None


def may_read_examples(sql: str) -> bool:
    """Whether the SQL has the word; it may be the name of something else."""
    return "examples" in sql.lower()


def _reduced(found: re.Match[str]) -> str:
    """A space in place of a text or comment; of quoted names, only the table's."""
    name = found[1]
    return (name if name.lower() == '"examples"' else '"name"') if name else " "
