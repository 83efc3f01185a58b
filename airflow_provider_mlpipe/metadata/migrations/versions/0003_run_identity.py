"""A run that is made again with the id of a deleted one is another run."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_CHANGES = """
-- Airflow's start dates of a run. A clear may change the date, and then adds one.
CREATE TABLE mlpipe.run_start (
    pipeline text NOT NULL,
    run_id text NOT NULL,
    started_at timestamptz NOT NULL,
    run_key uuid NOT NULL,
    PRIMARY KEY (pipeline, run_id, started_at)
);

-- What was recorded before counts as one run per run id.
ALTER TABLE mlpipe.execution ADD COLUMN run_key uuid;
UPDATE mlpipe.execution SET run_key = md5(pipeline || '/' || run_id)::uuid;
ALTER TABLE mlpipe.execution ALTER COLUMN run_key SET NOT NULL;
DROP INDEX mlpipe.execution_one_running;
CREATE UNIQUE INDEX execution_one_running ON mlpipe.execution (run_key, component_id, map_index)
    WHERE state = 'RUNNING';
CREATE INDEX execution_run ON mlpipe.execution (run_key, component_id, map_index, id);

-- `clear` is Airflow's clear_number of the run: each clear raises it, whichever tasks are cleared.
ALTER TABLE mlpipe.plan ADD COLUMN run_key uuid;
UPDATE mlpipe.plan SET run_key = md5(pipeline || '/' || run_id)::uuid;
ALTER TABLE mlpipe.plan DROP CONSTRAINT plan_pkey, DROP COLUMN taken_up, ADD PRIMARY KEY (run_key, clear);
"""


def upgrade() -> None:
    """Change the tables."""
    op.execute(_CHANGES)
