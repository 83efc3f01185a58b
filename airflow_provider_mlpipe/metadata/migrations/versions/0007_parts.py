"""Parts: a task may have several executions, one for each artifact of an input or for each span of its data."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_CHANGES = """
-- The parts of one try, or of one plan, are a set. What was recorded before is one set per execution.
ALTER TABLE mlpipe.execution
    ADD COLUMN part_set uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN part integer NOT NULL DEFAULT 0,   -- its number in the set, from 0
    ADD COLUMN parts integer NOT NULL DEFAULT 1;  -- how many parts the set has when it is complete
CREATE UNIQUE INDEX execution_part ON mlpipe.execution (part_set, part) WHERE state IN ('COMPLETE', 'CACHED');

CREATE VIEW mlpipe.complete_set AS
SELECT run_key, component_id, map_index, part_set, max(id) AS newest_id
FROM mlpipe.execution
WHERE state IN ('COMPLETE', 'CACHED')
GROUP BY run_key, component_id, map_index, part_set
HAVING count(*) = max(parts);

-- A plan names the set of a component's executions instead of its one execution.
UPDATE mlpipe.plan SET decisions = (
    SELECT coalesce(jsonb_agg(
        decision - 'execution_id' || jsonb_build_object('part_set', execution.part_set) ORDER BY place
    ), '[]')
    FROM jsonb_array_elements(decisions) WITH ORDINALITY AS listed (decision, place)
    LEFT JOIN mlpipe.execution ON execution.id = (decision ->> 'execution_id')::bigint
);
"""


def upgrade() -> None:
    """Change the tables."""
    op.execute(_CHANGES)
