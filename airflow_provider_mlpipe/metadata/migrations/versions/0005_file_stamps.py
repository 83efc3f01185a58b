"""The stamp of an artifact's files: a hit sees that they were written or replaced, even at equal size."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_CHANGES = """
ALTER TABLE mlpipe.artifact ADD COLUMN files_stamp text;
CREATE OR REPLACE VIEW mlpipe.typed_artifact AS
SELECT
    artifact.id, artifact.type_id, type.name AS type, type.properties AS declared, artifact.uri, artifact.digest,
    artifact.state, artifact.properties, artifact.custom_properties, artifact.created_at,
    artifact.file_count, artifact.byte_count, artifact.files_digest, artifact.files_stamp
FROM mlpipe.artifact JOIN mlpipe.artifact_type type ON type.id = artifact.type_id;
"""


def upgrade() -> None:
    """Add the column; it stays empty for what is there."""
    op.execute(_CHANGES)
