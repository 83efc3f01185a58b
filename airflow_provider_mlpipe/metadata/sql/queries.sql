-- Every statement of the store, each with one method in store.py. Parameters are bound, never formatted into the text.
--
-- All data-modifying parts of one statement see the same snapshot. So a part can read what another part wrote only from
-- its RETURNING, and it cannot see rows that a concurrent transaction committed meanwhile. Several publishers may
-- create the same types and contexts at once. Therefore separate statements create those first. If two transactions may
-- write the same rows, both write them in the same order, so that there is no deadlock.

-- name: store_id
-- The store's own id, made once with its schema.
SELECT id::text AS id FROM mlpipe.store

-- name: store_secret
-- The key of the digests that stand for secrets.
SELECT secret FROM mlpipe.store

-- name: ensure_contexts
-- The execution type, the three contexts of an execution, and their parents; writes only the missing ones.
-- DO UPDATE, unlike DO NOTHING, also returns a row that a concurrent transaction has just inserted.
WITH new_type AS (
    INSERT INTO mlpipe.execution_type (name)
    SELECT %(component_type)s
    WHERE NOT EXISTS (SELECT FROM mlpipe.execution_type WHERE name = %(component_type)s)
    ON CONFLICT (name) DO NOTHING
), wanted AS (
    SELECT type.id AS type_id, type.name AS type, names.name
    FROM (
        VALUES ('pipeline', %(pipeline)s), ('pipeline_run', %(pipeline_run)s), ('node', %(node)s)
    ) AS names (type, name)
    JOIN mlpipe.context_type type ON type.name = names.type
), existing AS (
    SELECT context.id, context.type_id
    FROM wanted JOIN mlpipe.context ON context.type_id = wanted.type_id AND context.name = wanted.name
), created AS (
    INSERT INTO mlpipe.context (type_id, name)
    SELECT type_id, name FROM wanted
    WHERE type_id NOT IN (SELECT type_id FROM existing)
    ORDER BY type_id
    ON CONFLICT (type_id, name) DO UPDATE SET name = EXCLUDED.name
    RETURNING id, type_id
), found AS (
    SELECT both_kinds.id, wanted.type
    FROM (SELECT * FROM existing UNION ALL SELECT * FROM created) AS both_kinds JOIN wanted USING (type_id)
)
INSERT INTO mlpipe.parent_context (context_id, parent_id)
SELECT child.id, parent.id
FROM found child JOIN found parent ON child.type <> 'pipeline' AND parent.type = 'pipeline'
WHERE NOT EXISTS (
    SELECT FROM mlpipe.parent_context link WHERE link.context_id = child.id AND link.parent_id = parent.id
)
ORDER BY child.id
ON CONFLICT DO NOTHING

-- name: ensure_artifact_types
-- Adds new properties to a type. Properties that it has already keep their type; the caller compares them.
WITH wanted AS (
    SELECT name, properties FROM jsonb_to_recordset(%(types)s::jsonb) AS declared (name text, properties jsonb)
), grown AS (
    INSERT INTO mlpipe.artifact_type AS type (name, properties)
    SELECT name, properties FROM wanted
    WHERE NOT EXISTS (
        SELECT FROM mlpipe.artifact_type known WHERE known.name = wanted.name AND known.properties @> wanted.properties
    )
    ORDER BY name
    ON CONFLICT (name) DO UPDATE SET properties = EXCLUDED.properties || type.properties
    RETURNING name, properties
)
SELECT name, properties FROM grown
UNION ALL
SELECT name, known.properties FROM mlpipe.artifact_type known JOIN wanted USING (name)
WHERE name NOT IN (SELECT name FROM grown)

-- name: start_execution
-- Ends the RUNNING executions of earlier tries, then inserts one row for this part of a try, with its contexts and inputs. If it
-- is sent twice, it finds its row by the token. It returns no row when another execution with the same flight is
-- RUNNING, or when another try of the same task starts at the same moment.
WITH superseded AS (
    UPDATE mlpipe.execution
    SET state = 'FAILED', claim_token = NULL, ended_at = clock_timestamp(), error = %(superseded_error)s
    WHERE run_key = %(run_key)s::uuid AND component_id = %(component_id)s
        AND map_index = %(map_index)s AND state = 'RUNNING' AND claim_token <> %(token)s::uuid
        AND try_number <= %(try_number)s -- a try does not end a newer one
    RETURNING id
), started AS (
    -- The count of the superseded rows makes Postgres end them first: only one may be RUNNING.
    INSERT INTO mlpipe.execution (
        type_id, pipeline, run_id, run_key, component_id, map_index, try_number, part_set, part, parts, state,
        claim_token, fingerprint, fingerprint_parts, flight, cached_from, triggered_by, environment, properties, ended_at
    )
    SELECT
        type.id, %(pipeline)s, %(run_id)s, %(run_key)s::uuid, %(component_id)s, %(map_index)s, %(try_number)s,
        %(part_set)s::uuid, %(part)s, %(parts)s, %(state)s, %(token)s::uuid, %(fingerprint)s, %(fingerprint_parts)s::jsonb, %(flight)s, %(cached_from)s::bigint, %(triggered_by)s,
        %(environment)s::jsonb, %(properties)s::jsonb,
        CASE WHEN %(state)s <> 'RUNNING' THEN statement_timestamp() END
    FROM mlpipe.execution_type type, (SELECT count(*) FROM superseded) AS ended_first
    WHERE type.name = %(component_type)s
    ON CONFLICT DO NOTHING
    RETURNING id
), associated AS (
    INSERT INTO mlpipe.association (context_id, execution_id)
    SELECT context.id, started.id
    FROM started, mlpipe.context JOIN mlpipe.context_type type ON type.id = context.type_id
    WHERE (type.name, context.name)
        IN (('pipeline', %(pipeline)s), ('pipeline_run', %(pipeline_run)s), ('node', %(node)s))
), used AS (
    INSERT INTO mlpipe.event (execution_id, artifact_id, type, key, index)
    SELECT started.id, input.artifact_id, 'INPUT', input.key, input.index
    FROM started, jsonb_to_recordset(%(inputs)s::jsonb) AS input (key text, index integer, artifact_id bigint)
)
SELECT id FROM started
UNION ALL
SELECT id FROM mlpipe.execution WHERE claim_token = %(token)s::uuid

-- name: in_flight
-- The RUNNING execution with this flight, and whether its heartbeat is stale. A heartbeat in the future is stale, too:
-- it means that the clock was set back. A living worker soon sends a heartbeat with the new time. For a dead worker,
-- others would have to wait until that future time. An old heartbeat is not stale if the server has just started: while
-- it was away, no worker could send one. After a clock was set back, that start may lie in the future; then it is not
-- looked at.
SELECT
    id, pipeline, run_id, component_id,
    heartbeat_at > clock_timestamp() + %(stale_after)s::interval
        OR (heartbeat_at < clock_timestamp() - %(stale_after)s::interval
            AND pg_postmaster_start_time()
                NOT BETWEEN clock_timestamp() - %(stale_after)s::interval AND clock_timestamp()) AS is_stale
FROM mlpipe.execution
WHERE flight = %(flight)s AND state = 'RUNNING'

-- name: under_way
-- Whether the execution is RUNNING and its heartbeat is not stale (as in in_flight), so that others should wait for it.
SELECT id FROM mlpipe.execution
WHERE id = %(execution_id)s AND state = 'RUNNING'
    AND heartbeat_at <= clock_timestamp() + %(stale_after)s::interval
    AND (heartbeat_at >= clock_timestamp() - %(stale_after)s::interval
        OR pg_postmaster_start_time() BETWEEN clock_timestamp() - %(stale_after)s::interval AND clock_timestamp())

-- name: failed_of_flight
-- Those of the executions that ended without the result which this flight would have. By their ids, which the folders of
-- their checkpoints have: few, while the failed tries of a flight may be many.
SELECT id FROM mlpipe.execution
WHERE id = ANY (%(execution_ids)s::bigint[]) AND state IN ('FAILED', 'ABANDONED') AND flight = %(flight)s
ORDER BY id DESC

-- name: heartbeat
-- By the database's clock, and only with the claim's token.
UPDATE mlpipe.execution SET heartbeat_at = clock_timestamp()
WHERE id = %(execution_id)s AND claim_token = %(token)s::uuid AND state = 'RUNNING'
RETURNING id

-- name: fail
-- Keeps the token, so that it returns the same row if it is sent twice.
UPDATE mlpipe.execution
SET state = 'FAILED', error = %(error)s, ended_at = coalesce(ended_at, clock_timestamp())
WHERE id = %(execution_id)s AND claim_token = %(token)s::uuid AND state IN ('RUNNING', 'FAILED')
RETURNING id

-- name: record_gate
-- Why the gate failed on what a part of a task's newest complete set in this run published.
UPDATE mlpipe.execution SET error = %(error)s
WHERE id = (
    SELECT max(id) FROM mlpipe.execution
    WHERE run_key = %(run_key)s::uuid AND component_id = %(component_id)s AND map_index = %(map_index)s
        AND part = %(part)s AND state IN ('COMPLETE', 'CACHED')
)
RETURNING id

-- name: has_execution
-- Whether a try of a task has an execution.
SELECT id FROM mlpipe.execution
WHERE run_key = %(run_key)s::uuid AND component_id = %(component_id)s
    AND map_index = %(map_index)s AND try_number = %(try_number)s
LIMIT 1

-- name: abandon_stale
-- Ends executions whose worker died: the heartbeat is stale, as in in_flight. If the worker comes back, it cannot
-- publish without the token.
WITH dead AS (
    SELECT id FROM mlpipe.execution
    WHERE state = 'RUNNING'
        AND (heartbeat_at > clock_timestamp() + %(older_than)s::interval
            OR (heartbeat_at < clock_timestamp() - %(older_than)s::interval
                AND pg_postmaster_start_time()
                    NOT BETWEEN clock_timestamp() - %(older_than)s::interval AND clock_timestamp()))
    ORDER BY id
    FOR NO KEY UPDATE
), ended AS (
    UPDATE mlpipe.execution
    SET state = 'ABANDONED', claim_token = NULL, ended_at = clock_timestamp(),
        error = 'no heartbeat since ' || heartbeat_at
    FROM dead
    WHERE NOT %(dry_run)s AND execution.id = dead.id
)
SELECT id FROM dead ORDER BY id

-- name: lock_uris
-- Locks URIs before an importer looks for an existing artifact, so that only one of several importers creates it.
SELECT pg_advisory_xact_lock(hashtextextended(uri, 0))
FROM (SELECT DISTINCT uri FROM jsonb_array_elements_text(%(uris)s::jsonb) AS uri ORDER BY uri) AS ordered

-- name: publish
-- A whole publication, if the claim is still valid. The receipt of this publication replaces the claim's token.
-- An output with an id is an existing artifact. With `reuse`, an equal LIVE artifact is used instead of a new row.
WITH claimed AS (
    UPDATE mlpipe.execution
    SET state = 'COMPLETE', claim_token = %(receipt)s::uuid, ended_at = clock_timestamp(),
        reusable = %(not_reusable_reason)s::text IS NULL, not_reusable_reason = %(not_reusable_reason)s,
        custom_properties = jsonb_build_object('reads', %(reads)s::jsonb)
    WHERE id = %(execution_id)s AND claim_token = %(token)s::uuid AND state = 'RUNNING'
    RETURNING id
), given AS MATERIALIZED (
    SELECT output.*, type.id AS type_id, coalesce(output.id, (
        SELECT same.id FROM mlpipe.artifact same
        WHERE %(reuse)s AND same.uri = output.uri AND same.type_id = type.id AND same.digest = output.digest
            AND same.properties = output.properties AND same.custom_properties = output.custom_properties
            AND same.state = 'LIVE'
        ORDER BY same.id LIMIT 1
    )) AS existing_id
    FROM claimed, jsonb_to_recordset(%(outputs)s::jsonb) AS output (
        key text, index integer, id bigint, type text, uri text, digest text, properties jsonb, custom_properties jsonb,
        file_count bigint, byte_count bigint, files_digest text, files_stamp text
    ) JOIN mlpipe.artifact_type type ON type.name = output.type
), output AS MATERIALIZED (
    SELECT ordered.*, coalesce(existing_id, nextval('mlpipe.artifact_id_seq')) AS artifact_id
    FROM (SELECT * FROM given ORDER BY key, index) AS ordered
), created AS (
    INSERT INTO mlpipe.artifact (
        id, type_id, uri, digest, properties, custom_properties, file_count, byte_count, files_digest, files_stamp
    ) OVERRIDING SYSTEM VALUE
    SELECT
        artifact_id, type_id, uri, digest, properties, custom_properties, file_count, byte_count, files_digest,
        files_stamp
    FROM output WHERE existing_id IS NULL
), produced AS (
    INSERT INTO mlpipe.event (execution_id, artifact_id, type, key, index)
    SELECT claimed.id, output.artifact_id, 'OUTPUT', output.key, output.index FROM claimed, output
), attributed AS (
    INSERT INTO mlpipe.attribution (context_id, artifact_id)
    SELECT DISTINCT association.context_id, output.artifact_id
    FROM claimed JOIN mlpipe.association ON association.execution_id = claimed.id, output
    ORDER BY association.context_id, output.artifact_id
    ON CONFLICT DO NOTHING
)
SELECT output.key, output.index, output.artifact_id FROM claimed LEFT JOIN output ON true

-- name: published
-- The outputs of a publication whose reply was lost.
SELECT event.key, event.index, event.artifact_id
FROM mlpipe.execution LEFT JOIN mlpipe.event ON event.execution_id = execution.id AND event.type = 'OUTPUT'
WHERE execution.id = %(execution_id)s AND execution.claim_token = %(receipt)s::uuid

-- name: settle
-- Ends a claimed execution as a hit, since an equal one has published.
UPDATE mlpipe.execution
SET state = 'CACHED', cached_from = %(cached_from)s, claim_token = NULL, ended_at = clock_timestamp()
WHERE id = %(execution_id)s AND claim_token = %(token)s::uuid AND state = 'RUNNING'
RETURNING id

-- name: copy_outputs
-- Makes the outputs of an earlier execution those of a CACHED one. FOR SHARE: nobody marks them MISSING meanwhile.
WITH hit AS (
    SELECT id FROM mlpipe.execution WHERE id = %(cached_from)s AND state = 'COMPLETE'
), output AS MATERIALIZED (
    SELECT event.key, event.index, artifact.id AS artifact_id
    FROM hit
    JOIN mlpipe.event ON event.execution_id = hit.id AND event.type = 'OUTPUT'
    JOIN mlpipe.artifact ON artifact.id = event.artifact_id
    WHERE artifact.state = 'LIVE'
    ORDER BY artifact.id
    FOR SHARE OF artifact
), produced AS (
    INSERT INTO mlpipe.event (execution_id, artifact_id, type, key, index)
    SELECT %(execution_id)s, artifact_id, 'OUTPUT', key, index FROM output
), attributed AS (
    INSERT INTO mlpipe.attribution (context_id, artifact_id)
    SELECT DISTINCT association.context_id, output.artifact_id
    FROM mlpipe.association, output
    WHERE association.execution_id = %(execution_id)s
    ORDER BY association.context_id, output.artifact_id
    ON CONFLICT DO NOTHING
)
SELECT
    (SELECT count(*) FROM mlpipe.event WHERE execution_id = hit.id AND type = 'OUTPUT') AS expected,
    output.key, output.index, typed_artifact.*
FROM hit LEFT JOIN (
    output JOIN mlpipe.typed_artifact ON typed_artifact.id = output.artifact_id
) ON true
ORDER BY output.key, output.index

-- name: find_cached
-- The look-up that decides a hit: an index scan of the fingerprint's executions, newest first.
-- It counts outputs: NOT EXISTS would become a join, which reads all artifacts if a fingerprint has many hits.
-- If the clock was set back, an end may lie in the future; the same maximum distance from now applies.
WITH hit AS (
    SELECT id, custom_properties -> 'reads' AS reads FROM mlpipe.execution
    WHERE fingerprint = %(fingerprint)s AND state = 'COMPLETE' AND reusable
        AND (%(before)s::bigint IS NULL OR id < %(before)s)
        AND (%(pipeline)s::text IS NULL OR pipeline = %(pipeline)s)
        AND (%(max_age)s::interval IS NULL
            OR ended_at BETWEEN clock_timestamp() - %(max_age)s::interval AND clock_timestamp() + %(max_age)s::interval)
        AND 0 = (
            SELECT count(*) FROM mlpipe.event JOIN mlpipe.artifact ON artifact.id = event.artifact_id
            WHERE event.execution_id = execution.id AND event.type = 'OUTPUT' AND artifact.state <> 'LIVE'
        )
    ORDER BY execution.id DESC
    LIMIT 1
)
SELECT hit.id AS execution_id, hit.reads, event.key, event.index, typed_artifact.*
FROM hit LEFT JOIN (
    mlpipe.event JOIN mlpipe.typed_artifact ON typed_artifact.id = event.artifact_id
) ON event.execution_id = hit.id AND event.type = 'OUTPUT'
ORDER BY event.key, event.index

-- name: run_result
-- The executions of a task's newest complete set in this run, in the order of its parts; for a mapped task, those of the
-- given map indexes.
WITH newest AS (
    SELECT DISTINCT ON (map_index) part_set FROM mlpipe.complete_set
    WHERE run_key = %(run_key)s::uuid AND component_id = %(component_id)s
        AND (%(map_indexes)s::integer[] IS NULL OR map_index = ANY (%(map_indexes)s::integer[]))
    ORDER BY map_index, newest_id DESC
)
SELECT execution.*, type.name AS type
FROM newest JOIN mlpipe.execution USING (part_set) JOIN mlpipe.execution_type type ON type.id = execution.type_id
WHERE execution.state IN ('COMPLETE', 'CACHED')
ORDER BY execution.map_index, execution.part

-- name: run_outputs
-- The artifacts of a channel: an output of what `run_result` finds.
WITH newest AS (
    SELECT DISTINCT ON (map_index) part_set FROM mlpipe.complete_set
    WHERE run_key = %(run_key)s::uuid AND component_id = %(component_id)s
        AND (%(map_indexes)s::integer[] IS NULL OR map_index = ANY (%(map_indexes)s::integer[]))
    ORDER BY map_index, newest_id DESC
)
SELECT typed_artifact.*
FROM newest JOIN mlpipe.execution USING (part_set)
JOIN mlpipe.event ON event.execution_id = execution.id AND event.type = 'OUTPUT' AND event.key = %(key)s
JOIN mlpipe.typed_artifact ON typed_artifact.id = event.artifact_id
WHERE execution.state IN ('COMPLETE', 'CACHED')
ORDER BY execution.map_index, execution.part, event.index

-- name: set_outputs
-- The outputs of a set of executions, in the order of its parts.
SELECT event.key, typed_artifact.*
FROM mlpipe.execution
JOIN mlpipe.event ON event.execution_id = execution.id AND event.type = 'OUTPUT'
JOIN mlpipe.typed_artifact ON typed_artifact.id = event.artifact_id
WHERE execution.part_set = %(part_set)s::uuid AND execution.state IN ('COMPLETE', 'CACHED')
ORDER BY event.key, execution.part, event.index

-- name: finished_part
-- What an earlier try of this task finished before it failed: an equal execution of its newest set, if that set never
-- became complete. So a retry keeps finished parts, even those that are not reusable, and a clear does not.
WITH newest AS (
    SELECT part_set, parts FROM mlpipe.execution
    WHERE run_key = %(run_key)s::uuid AND component_id = %(component_id)s AND map_index = %(map_index)s
        AND part_set <> %(part_set)s::uuid
    ORDER BY id DESC
    LIMIT 1
), finished AS (
    SELECT execution.id, execution.fingerprint, execution.cached_from, newest.parts
    FROM newest JOIN mlpipe.execution ON execution.part_set = newest.part_set
    WHERE execution.state IN ('COMPLETE', 'CACHED')
)
SELECT coalesce(cached_from, id) AS id FROM finished
WHERE fingerprint = %(fingerprint)s AND (SELECT count(*) FROM finished) < parts
ORDER BY id DESC
LIMIT 1

-- name: earlier_parts
-- The parts of a node's last fingerprints, newest first, to say what changed.
SELECT fingerprint_parts FROM mlpipe.execution
WHERE pipeline = %(pipeline)s AND component_id = %(component_id)s AND state IN ('COMPLETE', 'CACHED')
ORDER BY id DESC
LIMIT %(limit)s

-- name: run_started
-- The run with this start date, the given one if there is none yet. DO UPDATE, unlike DO NOTHING, returns a row that a
-- concurrent transaction has just inserted.
INSERT INTO mlpipe.run_start (pipeline, run_id, started_at, run_key)
VALUES (%(pipeline)s, %(run_id)s, %(started_at)s, %(run_key)s::uuid)
ON CONFLICT (pipeline, run_id, started_at) DO UPDATE SET run_key = run_start.run_key
RETURNING run_key

-- name: run_with_start
-- The run with this start date, if a task of it has asked before.
SELECT run_key FROM mlpipe.run_start
WHERE pipeline = %(pipeline)s AND run_id = %(run_id)s AND started_at = %(started_at)s

-- name: commit_plan
-- If two transactions insert the same plan, the second waits for the first and then gets no row.
INSERT INTO mlpipe.plan (pipeline, run_id, run_key, clear, decisions)
VALUES (%(pipeline)s, %(run_id)s, %(run_key)s::uuid, %(clear)s, '[]')
ON CONFLICT DO NOTHING
RETURNING clear

-- name: complete_plan
-- Adds the decisions, after the executions that they refer to were recorded.
UPDATE mlpipe.plan SET decisions = %(decisions)s::jsonb
WHERE run_key = %(run_key)s::uuid AND clear = %(clear)s

-- name: plan
-- The decisions of a run's plan: of one clear, or the newest one.
SELECT decisions FROM mlpipe.plan
WHERE run_key = %(run_key)s::uuid AND (%(clear)s::integer IS NULL OR clear = %(clear)s)
ORDER BY clear DESC
LIMIT 1

-- name: latest_run_with
-- The newest other run in which all given components have a result; it looks only at the last hundred runs.
SELECT candidate.pipeline, candidate.run_id, candidate.run_key AS key
FROM (
    SELECT pipeline, run_id, run_key, id FROM mlpipe.execution
    WHERE pipeline = %(pipeline)s AND component_id = (%(component_ids)s::text[])[1]
        AND state IN ('COMPLETE', 'CACHED') AND run_key <> %(other_than)s::uuid
    ORDER BY id DESC
    LIMIT 100
) AS candidate
WHERE NOT EXISTS (
    SELECT FROM unnest(%(component_ids)s::text[]) AS wanted (component_id)
    WHERE NOT EXISTS (
        SELECT FROM mlpipe.execution
        WHERE run_key = candidate.run_key AND component_id = wanted.component_id AND state IN ('COMPLETE', 'CACHED')
    )
)
ORDER BY candidate.id DESC
LIMIT 1

-- name: latest_run
-- The newest other run with this id: a run that was deleted may have been made again.
SELECT pipeline, run_id, run_key AS key FROM mlpipe.execution
WHERE pipeline = %(pipeline)s AND run_id = %(run_id)s AND run_key <> %(other_than)s::uuid
ORDER BY id DESC
LIMIT 1

-- name: stamp_artifact
-- What the files of an artifact look like now; they were compared with its digest.
UPDATE mlpipe.artifact SET files_stamp = %(stamp)s, updated_at = clock_timestamp()
WHERE id = %(artifact_id)s AND files_digest = %(files_digest)s AND files_stamp IS DISTINCT FROM %(stamp)s
RETURNING id

-- name: file_digests
-- What is known of input files.
SELECT path_digest, stamp, digest FROM mlpipe.file_digest WHERE path_digest = ANY (%(path_digests)s::text[])

-- name: remember_file_digests
-- In a fixed order, since two tasks may have read the same files.
INSERT INTO mlpipe.file_digest (path_digest, stamp, digest)
SELECT path_digest, stamp, digest
FROM jsonb_to_recordset(%(files)s::jsonb) AS file (path_digest text, stamp text, digest text)
ORDER BY path_digest
ON CONFLICT (path_digest) DO UPDATE SET stamp = excluded.stamp, digest = excluded.digest

-- name: announced_spans
-- Which spans of an asset were announced, and by whom.
SELECT span, version, pipeline, run_id, task_id, is_confirmed, announced_at FROM mlpipe.announced_span
WHERE asset = %(asset)s
ORDER BY span, version

-- name: announce_spans
-- What a task is about to announce. In a fixed order, since two tasks may have found the same spans.
INSERT INTO mlpipe.announced_span (asset, span, version, pipeline, run_id, task_id)
SELECT %(asset)s, span, version, %(pipeline)s, %(run_id)s, %(task_id)s
FROM jsonb_to_recordset(%(spans)s::jsonb) AS new (span bigint, version bigint)
ORDER BY span, version
ON CONFLICT (asset, span, version) DO NOTHING

-- name: confirm_spans
-- Their task has succeeded.
UPDATE mlpipe.announced_span SET is_confirmed = true
FROM jsonb_to_recordset(%(spans)s::jsonb) AS known (span bigint, version bigint)
WHERE announced_span.asset = %(asset)s AND announced_span.span = known.span AND announced_span.version = known.version

-- name: forget_spans
-- Their task failed before it announced them.
DELETE FROM mlpipe.announced_span USING jsonb_to_recordset(%(spans)s::jsonb) AS lost (span bigint, version bigint)
WHERE announced_span.asset = %(asset)s AND announced_span.span = lost.span AND announced_span.version = lost.version
    AND NOT announced_span.is_confirmed

-- name: mark_artifacts
-- Changes only LIVE and MISSING artifacts, in a fixed order.
UPDATE mlpipe.artifact SET state = %(state)s, updated_at = clock_timestamp()
WHERE id IN (
    SELECT id FROM mlpipe.artifact
    WHERE id = ANY (%(artifact_ids)s::bigint[]) AND state IN ('LIVE', 'MISSING') AND state <> %(state)s
    ORDER BY id
    FOR NO KEY UPDATE
)
RETURNING id

-- name: invalidate
-- Executions that later runs must not reuse any more, in a fixed order. It changes only reusable executions, so the
-- first reason stays recorded.
WITH matching AS (
    SELECT execution.id, type.name AS type, execution.pipeline, execution.component_id
    FROM mlpipe.execution JOIN mlpipe.execution_type type ON type.id = execution.type_id
    WHERE execution.state = 'COMPLETE' AND execution.reusable
        AND (%(pipeline)s::text IS NULL OR execution.pipeline = %(pipeline)s)
        AND (%(component)s::text IS NULL OR %(component)s IN (execution.component_id, type.name))
        AND (%(artifact_id)s::bigint IS NULL OR execution.id IN (
            SELECT execution_id FROM mlpipe.event WHERE artifact_id = %(artifact_id)s AND type = 'OUTPUT'
        ))
        AND (%(since)s::timestamptz IS NULL OR execution.ended_at >= %(since)s)
        AND (%(before)s::timestamptz IS NULL OR execution.ended_at < %(before)s)
    ORDER BY execution.id
    FOR NO KEY UPDATE OF execution
), invalidated AS (
    UPDATE mlpipe.execution
    SET reusable = false, not_reusable_reason = %(reason)s || ' at ' || date_trunc('second', statement_timestamp())
    FROM matching
    WHERE NOT %(dry_run)s AND execution.id = matching.id
)
SELECT * FROM matching ORDER BY id

-- name: latest_artifacts
-- The newest LIVE artifacts of a type that have these properties, declared or custom.
SELECT artifact.*
FROM mlpipe.typed_artifact artifact
WHERE artifact.state = 'LIVE'
    AND artifact.type_id = (SELECT id FROM mlpipe.artifact_type WHERE name = %(artifact_type)s)
    AND artifact.id <> ALL (%(without)s::bigint[])
    AND (%(before)s::bigint IS NULL OR artifact.id < %(before)s)
    AND NOT EXISTS (
        SELECT FROM jsonb_each(%(properties)s::jsonb) AS wanted
        WHERE (artifact.properties || artifact.custom_properties) -> wanted.key IS DISTINCT FROM wanted.value
    )
ORDER BY artifact.id DESC
LIMIT %(limit)s

-- name: latest_artifacts_of_context
-- The same in a pipeline or node, read from the newest one on. One statement for this and latest_artifacts would be slow
-- for both.
SELECT artifact.*
FROM mlpipe.attribution JOIN mlpipe.typed_artifact artifact ON artifact.id = attribution.artifact_id
WHERE attribution.context_id = (
        SELECT id FROM mlpipe.context
        WHERE name = %(context_name)s
            AND type_id = (SELECT id FROM mlpipe.context_type WHERE name = %(context_type)s)
    )
    AND artifact.state = 'LIVE'
    AND artifact.type_id = (SELECT id FROM mlpipe.artifact_type WHERE name = %(artifact_type)s)
    AND artifact.id <> ALL (%(without)s::bigint[])
    AND (%(before)s::bigint IS NULL OR attribution.artifact_id < %(before)s)
    AND NOT EXISTS (
        SELECT FROM jsonb_each(%(properties)s::jsonb) AS wanted
        WHERE (artifact.properties || artifact.custom_properties) -> wanted.key IS DISTINCT FROM wanted.value
    )
ORDER BY attribution.artifact_id DESC
LIMIT %(limit)s

-- name: spans_before
-- What a node published for earlier spans, the nearest first. The sort is of one node's artifacts.
SELECT artifact.*
FROM mlpipe.attribution JOIN mlpipe.typed_artifact artifact ON artifact.id = attribution.artifact_id
WHERE attribution.context_id = (
        SELECT id FROM mlpipe.context
        WHERE name = %(node)s AND type_id = (SELECT id FROM mlpipe.context_type WHERE name = 'node')
    )
    AND artifact.state = 'LIVE'
    AND artifact.type_id = (SELECT id FROM mlpipe.artifact_type WHERE name = %(artifact_type)s)
    AND (artifact.properties ->> 'span')::bigint < %(span)s
ORDER BY
    (artifact.properties ->> 'span')::bigint DESC, coalesce((artifact.properties ->> 'version')::bigint, 0) DESC,
    artifact.id DESC
LIMIT %(limit)s

-- name: newest_of_spans
-- For each node, the newest LIVE artifact of each span: the last one of the highest version. An artifact counts for the
-- node that was the first to publish it; others, such as a Resolver, only found it.
SELECT DISTINCT ON (publisher.pipeline, publisher.component_id, artifact.properties -> 'span')
    publisher.pipeline, publisher.component_id, (artifact.properties ->> 'span')::bigint AS span, artifact.id
FROM mlpipe.artifact
CROSS JOIN LATERAL (
    SELECT execution.pipeline, execution.component_id
    FROM mlpipe.event JOIN mlpipe.execution ON execution.id = event.execution_id
    WHERE event.artifact_id = artifact.id AND event.type = 'OUTPUT'
        AND (%(pipeline)s::text IS NULL OR execution.pipeline = %(pipeline)s)
        AND (%(component_id)s::text IS NULL OR execution.component_id = %(component_id)s)
    ORDER BY event.execution_id
    LIMIT 1
) AS publisher
WHERE artifact.state = 'LIVE'
    AND artifact.type_id = (SELECT id FROM mlpipe.artifact_type WHERE name = %(artifact_type)s)
    AND artifact.id <> ALL (%(without)s::bigint[])
    AND jsonb_typeof(artifact.properties -> 'span') = 'number'
ORDER BY
    publisher.pipeline, publisher.component_id, artifact.properties -> 'span',
    coalesce(artifact.properties -> 'version', '-1') DESC, artifact.id DESC

-- name: latest_blessed_model
-- A model is blessed if an execution with this model as its input "model" published a ModelBlessing with blessed = 1. Its
-- span is the highest one of the inputs of the execution that made it. It reads from the newest model on: subqueries
-- that count cannot become joins, which would read all models.
SELECT artifact.*
FROM mlpipe.typed_artifact artifact
WHERE artifact.type_id = (SELECT id FROM mlpipe.artifact_type WHERE name = 'Model') AND artifact.state = 'LIVE'
    AND artifact.id <> ALL (%(without)s::bigint[])
    AND (%(other_than)s::text IS NULL OR artifact.digest IS DISTINCT FROM %(other_than)s)
    AND (%(pipeline)s::text IS NULL OR 0 < (
        SELECT count(*) FROM mlpipe.attribution
        WHERE attribution.artifact_id = artifact.id AND attribution.context_id = (
            SELECT id FROM mlpipe.context
            WHERE name = %(pipeline)s
                AND type_id = (SELECT id FROM mlpipe.context_type WHERE name = 'pipeline')
        )
    ))
    AND (%(before_span)s::bigint IS NULL OR 0 = (
        SELECT count(*)
        FROM mlpipe.event used JOIN mlpipe.artifact input ON input.id = used.artifact_id
        WHERE used.type = 'INPUT'
            AND used.execution_id = (
                SELECT min(made.execution_id) FROM mlpipe.event made
                WHERE made.artifact_id = artifact.id AND made.type = 'OUTPUT'
            )
            AND jsonb_typeof(input.properties -> 'span') = 'number'
            AND input.properties -> 'span' >= to_jsonb(%(before_span)s::bigint)
    ))
    AND 0 < (
        SELECT count(*) FROM mlpipe.event used
        JOIN mlpipe.execution ON execution.id = used.execution_id
        JOIN mlpipe.event gave ON gave.execution_id = execution.id AND gave.type = 'OUTPUT'
        JOIN mlpipe.typed_artifact blessing ON blessing.id = gave.artifact_id
        WHERE used.artifact_id = artifact.id AND used.type = 'INPUT' AND used.key = 'model'
            AND execution.state IN ('COMPLETE', 'CACHED')
            AND blessing.type = 'ModelBlessing' AND blessing.properties @> '{"blessed": 1}'
    )
ORDER BY artifact.id DESC
LIMIT 1

-- name: latest_pushed_model
-- The model that is at a destination now, as far as the store knows: the input "model" of the execution that made the
-- newest PushedModel there. A push names the folder of the version, which is below the destination.
WITH pushed AS (
    SELECT id FROM mlpipe.artifact
    WHERE type_id = (SELECT id FROM mlpipe.artifact_type WHERE name = 'PushedModel') AND state = 'LIVE'
        AND properties @> '{"pushed": 1}'
        AND properties ->> 'destination' = %(destination)s || '/' || (properties ->> 'version')
    ORDER BY id DESC
    LIMIT 1
)
SELECT artifact.*
FROM pushed
JOIN mlpipe.event used ON used.type = 'INPUT' AND used.key = 'model' AND used.execution_id = (
    SELECT min(made.execution_id) FROM mlpipe.event made WHERE made.artifact_id = pushed.id AND made.type = 'OUTPUT'
)
JOIN mlpipe.typed_artifact artifact ON artifact.id = used.artifact_id
WHERE artifact.state = 'LIVE' AND artifact.id <> ALL (%(without)s::bigint[])

-- name: artifact
-- One artifact.
SELECT artifact.*
FROM mlpipe.typed_artifact artifact
WHERE artifact.id = %(artifact_id)s

-- name: artifacts_by_id
-- Many artifacts at once.
SELECT artifact.*
FROM mlpipe.typed_artifact artifact
WHERE artifact.id = ANY (%(artifact_ids)s::bigint[])
ORDER BY artifact.id

-- name: artifacts
-- A page of the artifacts that match the given conditions, newest first.
SELECT artifact.*
FROM mlpipe.typed_artifact artifact
WHERE (%(cursor)s::bigint IS NULL OR artifact.id < %(cursor)s)
    AND (%(artifact_type)s::text IS NULL
        OR artifact.type_id = (SELECT id FROM mlpipe.artifact_type WHERE name = %(artifact_type)s))
    AND (%(state)s::text IS NULL OR artifact.state = %(state)s)
    AND (%(uri)s::text IS NULL OR artifact.uri = %(uri)s)
    AND (%(digest)s::text IS NULL OR artifact.digest = %(digest)s)
    AND (%(properties)s::jsonb IS NULL OR artifact.properties || artifact.custom_properties @> %(properties)s)
    AND (%(context_id)s::bigint IS NULL OR artifact.id IN (
        SELECT artifact_id FROM mlpipe.attribution WHERE context_id = %(context_id)s
    ))
ORDER BY artifact.id DESC
LIMIT %(limit)s

-- name: execution
-- One execution.
SELECT execution.*, type.name AS type
FROM mlpipe.execution JOIN mlpipe.execution_type type ON type.id = execution.type_id
WHERE execution.id = %(execution_id)s

-- name: executions_by_id
-- Many executions at once.
SELECT execution.*, type.name AS type
FROM mlpipe.execution JOIN mlpipe.execution_type type ON type.id = execution.type_id
WHERE execution.id = ANY (%(execution_ids)s::bigint[])
ORDER BY execution.id

-- name: first_publishers
-- The executions that published each of these artifacts first: what they publish is new, what others publish is found.
SELECT execution.*, type.name AS type
FROM mlpipe.execution JOIN mlpipe.execution_type type ON type.id = execution.type_id
WHERE execution.id IN (
    SELECT min(execution_id) FROM mlpipe.event
    WHERE artifact_id = ANY (%(artifact_ids)s::bigint[]) AND type = 'OUTPUT'
    GROUP BY artifact_id
)
ORDER BY execution.id

-- name: used_folders
-- The given folders that are an artifact or contain one (a part of an output may have been imported). The index on URIs
-- finds only whole URIs, so this reads all URIs (once for any number of folders) and cuts them to the folders' depth.
WITH wanted AS (
    SELECT folder, cardinality(string_to_array(folder, '/')) AS depth FROM unnest(%(folders)s::text[]) AS folder
)
SELECT folder FROM wanted
WHERE folder IN (
    SELECT array_to_string((string_to_array(artifact.uri, '/'))[:depths.depth], '/')
    FROM mlpipe.artifact, (SELECT DISTINCT depth FROM wanted) AS depths
)

-- name: executions
-- A page of the executions that match the given conditions, newest first.
SELECT execution.*, type.name AS type
FROM mlpipe.execution JOIN mlpipe.execution_type type ON type.id = execution.type_id
WHERE (%(cursor)s::bigint IS NULL OR execution.id < %(cursor)s)
    AND (%(component_type)s::text IS NULL OR type.name = %(component_type)s)
    AND (%(state)s::text IS NULL OR execution.state = %(state)s)
    AND (%(pipeline)s::text IS NULL OR execution.pipeline = %(pipeline)s)
    AND (%(run_id)s::text IS NULL OR execution.run_id = %(run_id)s)
    AND (%(run_key)s::uuid IS NULL OR execution.run_key = %(run_key)s::uuid)
    AND (%(component_id)s::text IS NULL OR execution.component_id = %(component_id)s)
    AND (%(fingerprint)s::text IS NULL OR execution.fingerprint = %(fingerprint)s)
    AND (%(properties)s::jsonb IS NULL OR execution.properties @> %(properties)s)
    AND (%(context_id)s::bigint IS NULL OR execution.id IN (
        SELECT execution_id FROM mlpipe.association WHERE context_id = %(context_id)s
    ))
ORDER BY execution.id DESC
LIMIT %(limit)s

-- name: contexts
-- A page of the contexts that match the given conditions, newest first.
SELECT context.*, type.name AS type
FROM mlpipe.context JOIN mlpipe.context_type type ON type.id = context.type_id
WHERE (%(cursor)s::bigint IS NULL OR context.id < %(cursor)s)
    AND (%(context_type)s::text IS NULL OR type.name = %(context_type)s)
    AND (%(name)s::text IS NULL OR context.name = %(name)s)
    AND (%(parent_id)s::bigint IS NULL OR context.id IN (
        SELECT context_id FROM mlpipe.parent_context WHERE parent_id = %(parent_id)s
    ))
ORDER BY context.id DESC
LIMIT %(limit)s

-- name: execution_artifacts
-- The inputs or outputs of an execution.
SELECT event.key, event.index, typed_artifact.*
FROM mlpipe.event
JOIN mlpipe.typed_artifact ON typed_artifact.id = event.artifact_id
WHERE event.execution_id = %(execution_id)s AND event.type = %(event_type)s
ORDER BY event.key, event.index

-- name: lineage
-- What a node was made from (up) or what was made from it (down). UNION drops duplicates at the same depth, so the cost
-- grows with nodes times depth and not with the number of paths. Up from an artifact leads only to the execution that
-- made it (its first OUTPUT event), not to the executions that reused it.
WITH RECURSIVE walk (kind, id, depth) AS (
    SELECT %(kind)s::text, %(id)s::bigint, 0
    UNION
    SELECT next.kind, next.id, walk.depth + 1
    FROM walk, LATERAL (
        SELECT 'artifact' AS kind, event.artifact_id AS id FROM mlpipe.event
        WHERE walk.kind = 'execution' AND event.execution_id = walk.id
            AND event.type = CASE WHEN %(up)s THEN 'INPUT' ELSE 'OUTPUT' END
        UNION ALL
        SELECT 'execution', event.execution_id FROM mlpipe.event
        WHERE NOT %(up)s AND walk.kind = 'artifact' AND event.artifact_id = walk.id AND event.type = 'INPUT'
        UNION ALL
        SELECT 'execution', min(event.execution_id) FROM mlpipe.event
        WHERE %(up)s AND walk.kind = 'artifact' AND event.artifact_id = walk.id AND event.type = 'OUTPUT'
        HAVING min(event.execution_id) IS NOT NULL -- unlike a count, min reads one entry of the index
    ) AS next
    WHERE walk.depth < %(max_depth)s
), node AS (
    SELECT kind, id, min(depth) AS depth FROM walk GROUP BY kind, id
)
SELECT node.kind, node.id, node.depth, execution_type.name AS type, execution.state, execution.component_id AS label
FROM node
JOIN mlpipe.execution ON node.kind = 'execution' AND execution.id = node.id
JOIN mlpipe.execution_type ON execution_type.id = execution.type_id
UNION ALL
SELECT node.kind, node.id, node.depth, artifact.type, artifact.state, artifact.uri
FROM node JOIN mlpipe.typed_artifact artifact ON node.kind = 'artifact' AND artifact.id = node.id
ORDER BY depth, kind, id
LIMIT %(max_nodes)s

-- name: lineage_edges
-- The events between the nodes of a lineage.
SELECT execution_id, artifact_id, type, key, index FROM mlpipe.event
WHERE execution_id = ANY (%(execution_ids)s::bigint[]) AND artifact_id = ANY (%(artifact_ids)s::bigint[])
ORDER BY execution_id, type, key, index
