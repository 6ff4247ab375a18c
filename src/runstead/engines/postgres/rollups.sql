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

-- name: not_rolled_up
SELECT seq FROM unnest($1::bigint[]) AS s (seq)
WHERE seq < (SELECT below_seq FROM rollup_backlog) AND (SELECT true FROM rollup_open WHERE run_seq = seq LIMIT 1) IS NULL

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
