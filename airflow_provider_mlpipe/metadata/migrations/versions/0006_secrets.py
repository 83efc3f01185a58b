"""The key of the digests that stand for secrets; secrets that earlier versions stored are removed.

They are recognized by their names. What a template took from a connection or Variable under another name stays: whoever
had such a template gives out a new secret (docs/security.md).
"""

from __future__ import annotations

import json
import re
from typing import Any

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NAMES = (
    "access_?key|api_?key|authorization|bearer|connection_?string|credential|keyfile|pass_?phrase|passwd|password|"
    "private_?key|secret|token"
)
_HIDDEN = "***"
_KEY = """
ALTER TABLE mlpipe.store
    ADD COLUMN secret text NOT NULL DEFAULT gen_random_uuid()::text || gen_random_uuid()::text;
"""
_SUSPECTS = """
SELECT id, properties, fingerprint_parts, error FROM mlpipe.execution
WHERE properties::text ~* :names OR fingerprint_parts::text ~* :names
"""
_CLEAN = """
UPDATE mlpipe.execution
SET properties = CAST(:properties AS jsonb), fingerprint_parts = CAST(:parts AS jsonb), error = :error
WHERE id = :id
"""


def upgrade() -> None:
    """Add the column, and clean the rows."""
    op.execute(_KEY)
    connection = op.get_bind()
    for row in connection.execute(text(_SUSPECTS), {"names": _NAMES}).mappings().all():
        found: set[str] = set()
        properties = _cleaned("", row["properties"], found)
        parts = {name: _cleaned_part(name, part, found) for name, part in row["fingerprint_parts"].items()}
        error = row["error"]
        for secret in sorted(found, key=len, reverse=True):
            error = error and error.replace(secret, _HIDDEN)
        cleaned = {"properties": json.dumps(properties), "parts": json.dumps(parts), "error": error, "id": row["id"]}
        connection.execute(text(_CLEAN), cleaned)


def _cleaned_part(name: str, part: str, found: set[str]) -> str:
    parameter = name.removeprefix("parameter ")
    if parameter == name:
        return part
    cleaned = _cleaned(parameter, json.loads(part), found)
    return json.dumps(cleaned, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _cleaned(name: str, value: Any, found: set[str]) -> Any:
    """The value without the texts that are secrets by their names, which go into `found`."""
    if isinstance(value, dict):
        return {key: _cleaned(f"{name} {key}", item, found) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(name, item, found) for item in value]
    if not isinstance(value, str) or not re.search(_NAMES, name, re.IGNORECASE):
        return value
    if len(value) > 3:
        found.add(value)
    return _HIDDEN
