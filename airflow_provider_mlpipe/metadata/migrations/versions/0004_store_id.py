"""The store's own id, by which a pipeline_root says whose it is."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CHANGES = """
CREATE TABLE mlpipe.store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),  -- so there is one row
    id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO mlpipe.store DEFAULT VALUES;
"""


def upgrade() -> None:
    """Make the id."""
    op.execute(_CHANGES)
