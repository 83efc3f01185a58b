"""The digests of input files, so that a file that has not changed is not read again."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_CHANGES = """
CREATE TABLE mlpipe.file_digest (
    path_digest text PRIMARY KEY,  -- of the absolute path: a path may be longer than an index entry can be
    stamp text NOT NULL,           -- the file's inode, size and times when it was read
    digest text NOT NULL
);
"""


def upgrade() -> None:
    """Add the table."""
    op.execute(_CHANGES)
