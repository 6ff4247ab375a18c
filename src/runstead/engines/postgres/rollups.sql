-- name: any_rollup_entry
SELECT 1 FROM rollup_entries ORDER BY run_seq, version, action LIMIT 1

-- name: rollup_entries_of
SELECT action, facts FROM rollup_entries WHERE project_id = $1

-- name: add_usage
INSERT INTO usage_rollups AS u
  (project_id, way, width, bucket, name, provider, model,
   runs, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens)
SELECT * FROM unnest(
  $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[],
  $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[]
)
ON CONFLICT (project_id, way, width, bucket, name, provider, model) DO UPDATE SET
  runs = u.runs + excluded.runs,
  input_tokens = u.input_tokens + excluded.input_tokens,
  output_tokens = u.output_tokens + excluded.output_tokens,
  cached_input_tokens = u.cached_input_tokens + excluded.cached_input_tokens,
  reasoning_tokens = u.reasoning_tokens + excluded.reasoning_tokens

-- name: activity_durations
SELECT a.durations FROM unnest(
  $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[]
) WITH ORDINALITY AS k (project_id, way, width, bucket, name, kind, status, place)
LEFT JOIN LATERAL (
  SELECT durations FROM activity_rollups AS r
  WHERE r.project_id = k.project_id AND r.way = k.way AND r.name = k.name AND r.width = k.width AND r.bucket = k.bucket
    AND r.kind = k.kind AND r.status = k.status
  LIMIT 1
) AS a ON true
ORDER BY k.place

-- name: add_activity
INSERT INTO activity_rollups AS a (project_id, way, width, bucket, name, kind, status, runs, durations)
SELECT * FROM unnest(
  $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bytea[]
)
ON CONFLICT (project_id, way, name, width, bucket, kind, status)
DO UPDATE SET runs = a.runs + excluded.runs, durations = excluded.durations

-- name: drop_empty_usage
DELETE FROM usage_rollups WHERE ctid = ANY (ARRAY (
  SELECT u.place FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[]
  ) AS k (project_id, way, width, bucket, name, provider, model)
  CROSS JOIN LATERAL (
    SELECT r.*, ctid AS place FROM usage_rollups AS r
    WHERE r.project_id = k.project_id AND r.way = k.way AND r.width = k.width AND r.bucket = k.bucket AND r.name = k.name
      AND r.provider = k.provider AND r.model = k.model
    LIMIT 1
  ) AS u
  WHERE u.runs = 0 AND u.input_tokens = 0 AND u.output_tokens = 0 AND u.cached_input_tokens = 0 AND u.reasoning_tokens = 0
))

-- name: drop_empty_activity
DELETE FROM activity_rollups WHERE ctid = ANY (ARRAY (
  SELECT a.place FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[]
  ) AS k (project_id, way, width, bucket, name, kind, status)
  CROSS JOIN LATERAL (
    SELECT ctid AS place, runs, durations FROM activity_rollups AS r
    WHERE r.project_id = k.project_id AND r.way = k.way AND r.name = k.name AND r.width = k.width AND r.bucket = k.bucket
      AND r.kind = k.kind AND r.status = k.status
    LIMIT 1
  ) AS a
  WHERE a.runs = 0 AND a.durations = '\x80'  -- an empty map
))

-- name: rollup_backlog
SELECT below_seq FROM rollup_backlog

-- name: not_rolled_up
SELECT seq FROM unnest($1::bigint[]) AS s (seq)
WHERE seq < (SELECT below_seq FROM rollup_backlog) AND (SELECT true FROM rollup_open WHERE run_seq = seq LIMIT 1) IS NULL

-- name: rollup_backlog_runs
SELECT r.seq, r.project_id, r.status IN ('completed', 'failed', 'cancelled')
  AND (SELECT true FROM rollup_open WHERE run_seq = r.seq LIMIT 1) IS NULL, {facts}
FROM runs AS r WHERE r.seq < $1 ORDER BY r.seq DESC LIMIT $2

-- name: move_rollup_backlog
UPDATE rollup_backlog SET below_seq = $1

-- name: end_rollup_backlog
DELETE FROM rollup_backlog

-- name: forget_rollup_open
DELETE FROM rollup_open WHERE run_seq >= $1

-- name: edge_facts
SELECT {facts} FROM runs
WHERE project_id = $1 AND -seq < -$2::bigint AND -seq > -$3::bigint AND seq > 0 AND created_at >= $4 AND created_at < $5
  AND status IN ('completed', 'failed', 'cancelled')
ORDER BY -seq

-- name: backlog_facts
-- Runs of whole buckets that are not in the sums yet.
SELECT {facts} FROM runs AS r
WHERE project_id = $1 AND -seq > -$2::bigint AND seq > 0 AND created_at >= $3 AND created_at < $4
  AND status IN ('completed', 'failed', 'cancelled')
  AND (SELECT true FROM rollup_open WHERE run_seq = r.seq LIMIT 1) IS NULL
ORDER BY -seq LIMIT $5

-- name: count_active
SELECT count(*) FROM runs
WHERE project_id = $1 AND status IN ('pending', 'running', 'waiting') AND status <> 'completed'
  AND created_at >= $2 AND created_at < $3

-- name: usage_lines
WITH parts AS (
  SELECT u.* FROM unnest($3::bigint[], $4::bigint[], $5::bigint[]) AS s (width, since, until)
  CROSS JOIN LATERAL (
    SELECT name, provider, model, runs, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens
    FROM usage_rollups AS r
    WHERE r.project_id = $1 AND r.way = $2 AND r.width = s.width AND r.bucket >= s.since AND r.bucket < s.until
    OFFSET 0
  ) AS u
  UNION ALL
  SELECT * FROM unnest(
    $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[]
  )
),
lines AS MATERIALIZED (
  SELECT CASE WHEN $15 THEN model ELSE name END AS name, provider, model, sum(runs)::bigint AS runs,
    sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens,
    sum(cached_input_tokens)::bigint AS cached_input_tokens, sum(reasoning_tokens)::bigint AS reasoning_tokens
  FROM parts GROUP BY 1, 2, 3 HAVING sum(runs) <> 0
),
named AS MATERIALIZED (
  SELECT name, sum(input_tokens + output_tokens) AS tokens FROM lines GROUP BY name
),
first AS MATERIALIZED (
  SELECT name FROM named ORDER BY CASE WHEN $2 = 'day' THEN name ELSE '' END DESC, tokens DESC, name LIMIT $14
)
SELECT lines.*, (SELECT count(*) FROM named) FROM lines WHERE name = ANY (ARRAY(SELECT name FROM first))

-- name: count_usage_families
SELECT count(*) FROM (
  SELECT 1 FROM usage_rollups
  WHERE project_id = $1 AND way = 'family' AND width = $2 AND bucket >= $3 AND bucket < $4 LIMIT $5
) AS found

-- name: activity_targets
-- Steps from one name to the next within the primary key. The name of runs without a target is empty.
WITH RECURSIVE names (name) AS (
  (SELECT name FROM activity_rollups WHERE project_id = $1::text AND way = 'target' AND name > '' ORDER BY name LIMIT 1)
  UNION ALL
  SELECT (SELECT a.name FROM activity_rollups AS a
          WHERE a.project_id = $1::text AND a.way = 'target' AND a.name > names.name ORDER BY a.name LIMIT 1)
  FROM names WHERE names.name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL LIMIT $2::bigint

-- name: activity_between
SELECT bucket, kind, status, runs, durations FROM activity_rollups
WHERE project_id = $1 AND way = $2 AND name = $3 AND width = $4 AND bucket >= $5 AND bucket < $6

-- name: integrity_rollup_runs
SELECT project_id, {facts} FROM runs AS r
WHERE status IN ('completed', 'failed', 'cancelled') AND (
  NOT EXISTS (SELECT 1 FROM rollup_backlog WHERE below_seq > r.seq)
  OR EXISTS (SELECT 1 FROM rollup_open WHERE run_seq = r.seq)
)

-- name: integrity_rollup_entries
SELECT project_id, action, facts FROM rollup_entries

-- name: integrity_usage
SELECT project_id, way, width, bucket / 2419200000, part, provider, model, sum(runs), sum(input_tokens), sum(output_tokens),
  sum(cached_input_tokens), sum(reasoning_tokens)
FROM (
  SELECT *, CASE WHEN way = 'gone' THEN name ELSE '' END AS part FROM usage_rollups
) AS parted GROUP BY project_id, way, width, bucket / 2419200000, part, provider, model

-- name: integrity_activity
SELECT project_id, way, width, bucket / 2419200000, kind, status, runs, durations FROM activity_rollups

-- name: add_rollup_entries
INSERT INTO rollup_entries (run_seq, version, action, project_id, facts)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bytea[])

-- name: take_rollup_entries
-- Only one tick runs at a time.
DELETE FROM rollup_entries WHERE ctid = ANY (ARRAY (SELECT ctid FROM rollup_entries ORDER BY run_seq, version, action LIMIT $1))
RETURNING action, project_id, facts

-- name: try_rollup_lock
SELECT pg_try_advisory_xact_lock($1)

-- name: share_rollup_lock
SELECT pg_advisory_xact_lock_shared($1)

-- name: facts_of
SELECT seq, version, project_id, {facts} FROM runs WHERE seq = ANY ($1::bigint[]) AND status IN ('completed', 'failed', 'cancelled')
