"""The metadata store: ML Metadata's data model."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE mlpipe.artifact_type (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    properties jsonb NOT NULL DEFAULT '{}'  -- property name -> int, double, string, bool or struct
);

CREATE TABLE mlpipe.execution_type (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);

CREATE TABLE mlpipe.context_type (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);
INSERT INTO mlpipe.context_type (name) VALUES ('pipeline'), ('pipeline_run'), ('node');

CREATE TABLE mlpipe.artifact (
    id bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME mlpipe.artifact_id_seq) PRIMARY KEY,
    type_id bigint NOT NULL REFERENCES mlpipe.artifact_type,
    uri text NOT NULL,
    digest text,
    state text NOT NULL DEFAULT 'LIVE' CHECK (state IN ('LIVE', 'MISSING', 'DELETED')),
    properties jsonb NOT NULL DEFAULT '{}',
    custom_properties jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp()
);
-- A hash: a URI may be longer than a btree entry can be.
CREATE INDEX artifact_uri ON mlpipe.artifact USING hash (uri);
CREATE INDEX artifact_newest_live ON mlpipe.artifact (type_id, id) WHERE state = 'LIVE';

CREATE VIEW mlpipe.typed_artifact AS
SELECT
    artifact.id, artifact.type_id, type.name AS type, type.properties AS declared, artifact.uri, artifact.digest,
    artifact.state, artifact.properties, artifact.custom_properties, artifact.created_at
FROM mlpipe.artifact JOIN mlpipe.artifact_type type ON type.id = artifact.type_id;

CREATE TABLE mlpipe.execution (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type_id bigint NOT NULL REFERENCES mlpipe.execution_type,
    pipeline text NOT NULL,
    run_id text NOT NULL,
    component_id text NOT NULL,
    map_index integer NOT NULL DEFAULT -1,
    try_number integer NOT NULL DEFAULT 1,
    state text NOT NULL CHECK (state IN ('RUNNING', 'COMPLETE', 'CACHED', 'FAILED', 'ABANDONED')),
    -- While RUNNING, whoever knows it may publish. Then it is the receipt by which a publisher knows its own work.
    claim_token uuid UNIQUE,
    fingerprint text NOT NULL,
    fingerprint_parts jsonb NOT NULL,
    reusable boolean NOT NULL DEFAULT true,
    not_reusable_reason text,
    cached_from bigint REFERENCES mlpipe.execution,
    triggered_by text,
    environment jsonb NOT NULL DEFAULT '{}',
    properties jsonb NOT NULL DEFAULT '{}',
    custom_properties jsonb NOT NULL DEFAULT '{}',
    error text,
    started_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    ended_at timestamptz,
    CHECK ((state = 'CACHED') = (cached_from IS NOT NULL)),
    CHECK ((state = 'RUNNING') = (ended_at IS NULL)),
    CHECK (state <> 'RUNNING' OR claim_token IS NOT NULL)
) WITH (fillfactor = 80);  -- room for a heartbeat to stay on its page
CREATE INDEX execution_cache ON mlpipe.execution (fingerprint, id) WHERE state = 'COMPLETE' AND reusable;
CREATE INDEX execution_task ON mlpipe.execution (pipeline, run_id, component_id, map_index, id);
CREATE INDEX execution_newest ON mlpipe.execution (pipeline, component_id, id) WHERE state IN ('COMPLETE', 'CACHED');
CREATE UNIQUE INDEX execution_one_running ON mlpipe.execution (pipeline, run_id, component_id, map_index)
    WHERE state = 'RUNNING';
CREATE INDEX execution_cached_from ON mlpipe.execution (cached_from) WHERE cached_from IS NOT NULL;

CREATE TABLE mlpipe.event (
    execution_id bigint NOT NULL REFERENCES mlpipe.execution,
    artifact_id bigint NOT NULL REFERENCES mlpipe.artifact,
    type text NOT NULL CHECK (type IN ('INPUT', 'OUTPUT')),
    key text NOT NULL,
    index integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (execution_id, type, key, index)
);
CREATE INDEX event_artifact ON mlpipe.event (artifact_id, type, execution_id);

CREATE TABLE mlpipe.context (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type_id bigint NOT NULL REFERENCES mlpipe.context_type,
    name text NOT NULL,
    properties jsonb NOT NULL DEFAULT '{}',
    custom_properties jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    UNIQUE (type_id, name)
);

CREATE TABLE mlpipe.attribution (
    context_id bigint NOT NULL REFERENCES mlpipe.context,
    artifact_id bigint NOT NULL REFERENCES mlpipe.artifact,
    PRIMARY KEY (context_id, artifact_id)
);
CREATE INDEX attribution_artifact ON mlpipe.attribution (artifact_id);

CREATE TABLE mlpipe.association (
    context_id bigint NOT NULL REFERENCES mlpipe.context,
    execution_id bigint NOT NULL REFERENCES mlpipe.execution,
    PRIMARY KEY (context_id, execution_id)
);
CREATE INDEX association_execution ON mlpipe.association (execution_id);

CREATE TABLE mlpipe.parent_context (
    context_id bigint NOT NULL REFERENCES mlpipe.context,
    parent_id bigint NOT NULL REFERENCES mlpipe.context,
    PRIMARY KEY (context_id, parent_id),
    CHECK (context_id <> parent_id)
);
CREATE INDEX parent_context_parent ON mlpipe.parent_context (parent_id);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(_TABLES)
