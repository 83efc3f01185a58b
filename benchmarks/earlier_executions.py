"""Fills a store with earlier executions: the first hundred by its own methods, the others as copies made by Postgres.

There are ten pipelines of ten components, whose runs take turns. Every execution has as its input the output of the
one before it, so that runs are chained, too, and a lineage has no end. An execution and its output have the same id,
counted from 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from hashlib import sha256

from named_runs import named_run

from airflow_provider_mlpipe.artifacts import ARTIFACT_TYPES, Artifact, PropertyType, PropertyValue
from airflow_provider_mlpipe.metadata.connection import Connection
from airflow_provider_mlpipe.metadata.schema import upgrade
from airflow_provider_mlpipe.metadata.store import ExecutionStart, MetadataStore

COMPONENTS = PIPELINES = 10
ORIGINALS = PIPELINES * COMPONENTS
TYPES = tuple(ARTIFACT_TYPES.values())[:COMPONENTS]

_PARTS = {f"executor file {number}": sha256(str(number).encode()).hexdigest() for number in range(15)} | {
    f"parameter {number}": f"value {number}" for number in range(14)
}
_VALUES: Mapping[PropertyType, PropertyValue] = {
    PropertyType.INT: 1,
    PropertyType.STRING: "a text",
    PropertyType.STRUCT: {"train": 1000, "eval": 500},
}
_COPY = """
SET LOCAL session_replication_role = replica; -- the references are right: they need no look

INSERT INTO mlpipe.execution (
    id, type_id, pipeline, run_id, run_key, component_id, state, claim_token, fingerprint, fingerprint_parts,
    triggered_by, environment, properties, ended_at
) OVERRIDING SYSTEM VALUE
SELECT
    copy.id, type_id, pipeline, 'run ' || number, md5(pipeline || '/' || number)::uuid, component_id, state,
    gen_random_uuid(), encode(sha256(copy.id::text::bytea), 'hex'),
    fingerprint_parts || jsonb_build_object('number', copy.id::text), triggered_by, environment, properties,
    clock_timestamp()
FROM generate_series(1, %(copies)s) AS number, mlpipe.execution original,
    LATERAL (SELECT original.id + number * %(originals)s AS id) AS copy
ORDER BY copy.id;

INSERT INTO mlpipe.artifact (id, type_id, uri, digest, properties, custom_properties) OVERRIDING SYSTEM VALUE
SELECT
    copy.id, type_id, rtrim(uri, '0123456789') || copy.id, encode(sha256(copy.id::text::bytea), 'hex'), properties,
    custom_properties
FROM generate_series(1, %(copies)s) AS number, mlpipe.artifact original,
    LATERAL (SELECT original.id + number * %(originals)s AS id) AS copy
ORDER BY copy.id;

INSERT INTO mlpipe.event (execution_id, artifact_id, type, key)
SELECT id, artifact_id, type, key
FROM mlpipe.execution,
    LATERAL (VALUES (id - 1, 'INPUT', 'input'), (id, 'OUTPUT', 'output')) AS its (artifact_id, type, key)
WHERE id > %(originals)s
ORDER BY id;

INSERT INTO mlpipe.context (type_id, name)
SELECT type.id, pipeline || '/' || run_id
FROM mlpipe.execution, mlpipe.context_type type
WHERE type.name = 'pipeline_run' AND execution.id > %(originals)s
GROUP BY type.id, pipeline, run_id
ORDER BY min(execution.id);

INSERT INTO mlpipe.parent_context (context_id, parent_id)
SELECT child.id, parent.id
FROM mlpipe.context child JOIN mlpipe.context parent ON parent.name = split_part(child.name, '/', 1)
WHERE child.id <> parent.id
ON CONFLICT DO NOTHING;

INSERT INTO mlpipe.association (context_id, execution_id)
SELECT context.id, execution.id
FROM mlpipe.execution,
    LATERAL (VALUES (pipeline), (pipeline || '/' || run_id), (pipeline || '/' || component_id)) AS names (name)
    JOIN mlpipe.context USING (name)
WHERE execution.id > %(originals)s
ORDER BY execution.id;

INSERT INTO mlpipe.attribution (context_id, artifact_id)
SELECT context_id, execution_id FROM mlpipe.association WHERE execution_id > %(originals)s ORDER BY execution_id;

SELECT setval(pg_get_serial_sequence('mlpipe.' || name, 'id'), (%(copies)s + 1) * %(originals)s)
FROM (VALUES ('execution'), ('artifact')) AS numbered (name);
"""


def fill(dsn: str, executions: int) -> None:
    """Create the schema and so many executions, a multiple of 100, in a state like that of a store long in use."""
    upgrade(dsn)
    with closing(MetadataStore(dsn)) as store:
        for number in range(ORIGINALS):
            _run_original(store, number)
    connection = Connection(dsn)
    with closing(connection.new_raw()) as raw:
        if copies := executions // ORIGINALS - 1:
            raw.cursor().execute(_COPY, {"copies": copies, "originals": ORIGINALS})
            raw.commit()
        raw.autocommit = True
        raw.cursor().execute("VACUUM ANALYZE")
        raw.cursor().execute("CHECKPOINT")  # so that none is due to the filling while others measure


def fingerprint(of: object) -> str:
    """The fingerprint of an execution; that of an earlier one is made of its id."""
    return sha256(str(of).encode()).hexdigest()


def execution_start(number: int, *, run_id: str, inputs: Sequence[int], fingerprint: str) -> ExecutionStart:
    """The `number`-th execution of the pipelines, with thirty fingerprint parts."""
    component = number % COMPONENTS
    return ExecutionStart(
        component_type=f"Component{component}",
        run=named_run(pipeline(number), run_id),
        component_id=f"component {component}",
        fingerprint=fingerprint,
        fingerprint_parts=_PARTS | {"number": str(number)},
        inputs={"input": inputs},
        properties={"module_file": "/code/model.py", "train_args": {"num_steps": 1000}, "number": number},
        triggered_by="benchmark",
        environment={"host": "worker", "python": "3.11.2", "pid": 12345},
    )


def output(number: int, uri: str) -> dict[str, list[Artifact]]:
    """What it puts out: one artifact, of its component's type and with all the properties of that."""
    kind = TYPES[number % COMPONENTS]
    properties = {name: _VALUES[declared] for name, declared in kind.PROPERTIES.items()}
    made = kind(uri=uri, digest=fingerprint(uri), properties=properties, custom_properties={"note": "a text"})
    return {"output": [made]}


def pipeline(number: int) -> str:
    """The pipeline of the `number`-th execution: after the components of a run comes a run of the next pipeline."""
    return f"pipeline {number // COMPONENTS % PIPELINES}"


def _run_original(store: MetadataStore, number: int) -> None:
    execution_id = number + 1
    start = execution_start(
        number, run_id="run 0", inputs=[number] if number else [], fingerprint=fingerprint(execution_id)
    )
    claim = store.start_execution(start)
    (artifact,) = store.publish(claim, output(number, f"/root/output/{execution_id}"))["output"]
    assert claim.execution_id == artifact.id == execution_id
