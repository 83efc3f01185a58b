"""The spans of data that were announced, so that each is announced once."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_CHANGES = """
CREATE TABLE mlpipe.announced_span (
    asset text NOT NULL,
    span bigint NOT NULL,
    version bigint NOT NULL,  -- -1 for data without versions
    pipeline text NOT NULL,
    run_id text NOT NULL,
    task_id text NOT NULL,
    is_confirmed boolean NOT NULL DEFAULT false,  -- whether its task is known to have succeeded
    announced_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (asset, span, version)
);
"""


def upgrade() -> None:
    """Add the table."""
    op.execute(_CHANGES)
