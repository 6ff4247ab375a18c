-- name: load
-- Locks every run that is named, and the whole line above a parent, lowest first: the one order that all take. The time
-- is read after each lock, the last one counts. A number for every run that is not there yet comes along, and which of
-- the projects $4 have webhooks, and of $5 limits on running runs.
WITH named AS MATERIALIZED (
  SELECT r.seq, r.path, k.parent
  FROM unnest($1::text[], $2::text[], $3::boolean[]) AS k (run_id, project_id, parent)
  JOIN runs AS r ON r.run_id = k.run_id AND r.project_id = k.project_id
), line AS MATERIALIZED (
  SELECT seq FROM named
  UNION
  SELECT step::bigint FROM named, unnest(string_to_array(trim(BOTH '/' FROM path), '/')) AS step
  WHERE parent AND path <> '/'
)
SELECT {clock}, pg_current_xact_id()::text, fresh.seqs,
  ARRAY(SELECT DISTINCT project_id FROM webhooks WHERE project_id = ANY ($4::text[]) AND disabled_at IS NULL) AS hooked,
  fresh.limited, locked.*
FROM (
  SELECT
    ARRAY(SELECT nextval('run_seq') FROM generate_series(1, cardinality($1) - (SELECT count(*) FROM named))),
    ARRAY(SELECT DISTINCT project_id FROM concurrency_limits WHERE project_id = ANY ($5::text[]))
) AS fresh (seqs, limited)
LEFT JOIN LATERAL (
  SELECT {locked} FROM {runs} WHERE seq = ANY (ARRAY(SELECT seq FROM line)) ORDER BY seq FOR UPDATE OF runs
) AS locked ON true

-- name: run_by_key
SELECT {columns} FROM {runs} WHERE run_id = $1 AND project_id = $2

-- name: runs_by_id
SELECT {columns} FROM {runs} WHERE run_id = $1 AND project_id = ANY ($2::text[]) LIMIT 2

-- name: children
SELECT {columns} FROM {runs}
WHERE parent_seq = $1 AND seq > $3 AND ($4::text IS NULL OR kind = $4) ORDER BY seq LIMIT $2

-- name: family
SELECT {columns} FROM {runs} WHERE seq = $1
UNION ALL
SELECT * FROM (
  SELECT {columns} FROM {runs} WHERE root_seq = $1 AND parent_seq IS NOT NULL ORDER BY seq LIMIT $2 - 1
) AS below

-- name: any_descendant_alive
SELECT 1 FROM runs
WHERE root_seq = $1 AND parent_seq IS NOT NULL AND status IN ('pending', 'running', 'waiting')
  AND strpos(path, $2) > 0
LIMIT 1

-- name: descendants_alive
SELECT {locked} FROM {runs}
WHERE root_seq = $1 AND parent_seq IS NOT NULL AND status IN ('pending', 'running', 'waiting')
  AND strpos(path, $2) > 0
ORDER BY seq FOR UPDATE OF runs

-- name: any_child
SELECT 1 FROM runs WHERE parent_seq = $1 LIMIT 1

-- name: latest_event_ids
SELECT seq, latest_event_id FROM runs WHERE seq = ANY ($1::bigint[])

-- name: attempts
SELECT attempt, lease_owner, started_at, ended_at, outcome, error FROM run_attempts WHERE run_seq = $1 ORDER BY attempt

-- name: add_attempts
INSERT INTO run_attempts (run_seq, attempt, lease_owner, started_at, ended_at, outcome, error)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[])

-- name: receipt
SELECT key, digest FROM run_receipts WHERE run_seq = $1 AND key = $2

-- name: add_receipts
INSERT INTO run_receipts (run_seq, key, digest) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])

-- name: delete_runs
-- All that belongs to a run, but for its message and its counters. Its places in its family's order stay empty.
WITH gone AS (DELETE FROM runs WHERE seq = $1 AND version = $2 RETURNING seq, created_at),
events AS (DELETE FROM run_events AS e USING gone WHERE e.run_created_at = gone.created_at AND e.run_seq = gone.seq),
keys AS (DELETE FROM run_event_keys USING gone WHERE run_seq = seq),
attempts AS (DELETE FROM run_attempts USING gone WHERE run_seq = seq),
receipts AS (DELETE FROM run_receipts USING gone WHERE run_seq = seq),
sessions AS (DELETE FROM worker_sessions USING gone WHERE run_seq = gone.seq),
inputs AS (DELETE FROM input_requests AS i USING gone WHERE i.run_seq = gone.seq),
counters AS (DELETE FROM run_families USING gone WHERE run_seq = seq),
log AS (DELETE FROM family_log USING gone WHERE root_seq = seq)
SELECT count(*) FROM gone

-- name: alive_below
-- All that runs below these runs ($1, of the families of $2), locked lowest first.
SELECT {locked} FROM {runs}
WHERE seq = ANY (ARRAY(
  SELECT r.seq FROM unnest($1::bigint[], $2::bigint[]) AS m (seq, root_seq)
  JOIN runs AS r ON r.root_seq = m.root_seq AND r.parent_seq IS NOT NULL
    AND r.status IN ('pending', 'running', 'waiting') AND strpos(r.path, '/' || m.seq || '/') > 0
))
ORDER BY seq FOR UPDATE OF runs

-- name: fresh_seqs
SELECT nextval('run_seq') FROM generate_series(1, $1)

-- name: runs_by_keys
SELECT {columns} FROM {runs}
WHERE (run_id, project_id) IN (SELECT run_id, project_id FROM unnest($1::text[], $2::text[]) AS k (run_id, project_id))

-- name: families_alive
-- (run, one below it)
SELECT top.seq, below.seq
FROM unnest($1::bigint[], $2::bigint[]) AS top (seq, root_seq)
JOIN runs AS below ON below.root_seq = top.root_seq
WHERE below.parent_seq IS NOT NULL AND below.status IN ('pending', 'running', 'waiting')
  AND strpos(below.path, '/' || top.seq || '/') > 0
ORDER BY below.seq

-- name: lock_free_runs
SELECT {locked} FROM {runs} WHERE seq = ANY ($1::bigint[]) ORDER BY seq FOR UPDATE OF runs SKIP LOCKED

-- name: lock_runs
SELECT seq, parent_seq, run_id FROM runs WHERE seq = ANY ($1::bigint[]) ORDER BY seq FOR UPDATE

-- name: children_seqs
SELECT parent_seq, seq FROM runs WHERE parent_seq = ANY ($1::bigint[])

-- name: runs_there
SELECT run_id FROM runs WHERE project_id = $1 AND run_id = ANY ($2::text[]) LIMIT 1

-- name: move_runs
UPDATE runs SET project_id = $1, version = version + 1 WHERE seq = ANY ($2::bigint[])
