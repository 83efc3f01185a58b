"""Single flight, plans, and what an artifact's files were when they were published."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_CHANGES = """
ALTER TABLE mlpipe.artifact
    ADD COLUMN file_count bigint,
    ADD COLUMN byte_count bigint,
    ADD COLUMN files_digest text;
CREATE OR REPLACE VIEW mlpipe.typed_artifact AS
SELECT
    artifact.id, artifact.type_id, type.name AS type, type.properties AS declared, artifact.uri, artifact.digest,
    artifact.state, artifact.properties, artifact.custom_properties, artifact.created_at,
    artifact.file_count, artifact.byte_count, artifact.files_digest
FROM mlpipe.artifact JOIN mlpipe.artifact_type type ON type.id = artifact.type_id;

-- What only one execution at a time may be making; NULL for one that neither waits nor is waited for.
ALTER TABLE mlpipe.execution ADD COLUMN flight text;
CREATE UNIQUE INDEX execution_one_flight ON mlpipe.execution (flight) WHERE state = 'RUNNING';

-- For a hit, and for what keeps an equal execution from being one.
DROP INDEX mlpipe.execution_cache;
CREATE INDEX execution_cache ON mlpipe.execution (fingerprint, reusable, id) WHERE state = 'COMPLETE';

-- What was decided about a run before it began, anew whenever its plan is cleared.
CREATE TABLE mlpipe.plan (
    pipeline text NOT NULL,
    run_id text NOT NULL,
    clear integer NOT NULL,  -- Airflow's max_tries of the task: a clear raises it, a retry does not
    decisions jsonb NOT NULL,
    taken_up jsonb NOT NULL DEFAULT '{}',  -- component -> the clear of its task that went by this plan
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (pipeline, run_id, clear)
);
"""


def upgrade() -> None:
    """Change the tables."""
    op.execute(_CHANGES)
