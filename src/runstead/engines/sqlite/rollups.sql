-- name: add_rollup_entry
INSERT INTO rollup_entries (run_seq, version, action, project_id, facts) VALUES (?, ?, ?, ?, ?)

-- name: rollup_entries
-- The oldest entries as one row, because each row costs a switch between threads.
SELECT folds, max(id), json_group_array(json_array(action, project_id, hex(facts)))
FROM (SELECT id, action, project_id, facts FROM rollup_entries ORDER BY id LIMIT ?), rollup_folds

-- name: rollup_entries_of
SELECT action, facts FROM rollup_entries WHERE project_id = ?

-- name: begin_tick
UPDATE rollup_folds SET folds = folds + 1 WHERE folds = ?

-- name: drop_rollup_entries
DELETE FROM rollup_entries WHERE id <= ?

-- name: add_usage
INSERT INTO usage_rollups
  (project_id, way, width, bucket, name, provider, model,
   runs, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
  runs = runs + excluded.runs,
  input_tokens = input_tokens + excluded.input_tokens,
  output_tokens = output_tokens + excluded.output_tokens,
  cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
  reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens

-- name: activity_durations
SELECT durations FROM activity_rollups
WHERE project_id = ? AND way = ? AND width = ? AND bucket = ? AND name = ? AND kind = ? AND status = ?

-- name: add_activity
INSERT INTO activity_rollups (project_id, way, width, bucket, name, kind, status, runs, durations)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET runs = runs + excluded.runs, durations = excluded.durations

-- name: drop_empty_usage
DELETE FROM usage_rollups
WHERE project_id = ? AND way = ? AND width = ? AND bucket = ? AND name = ? AND provider = ? AND model = ? AND runs = 0
  AND input_tokens = 0 AND output_tokens = 0 AND cached_input_tokens = 0 AND reasoning_tokens = 0

-- name: drop_empty_activity
DELETE FROM activity_rollups
WHERE project_id = ? AND way = ? AND width = ? AND bucket = ? AND name = ? AND kind = ? AND status = ? AND runs = 0
  AND durations = x'80'  -- an empty map

-- name: rollup_backlog
SELECT below_seq FROM rollup_backlog

-- name: not_rolled_up
SELECT 1 FROM rollup_backlog WHERE below_seq > ?1 AND NOT EXISTS (SELECT 1 FROM rollup_open WHERE run_seq = ?1)

-- name: rollup_backlog_runs
SELECT r.seq, r.project_id, r.status IN ('completed', 'failed', 'cancelled')
  AND NOT EXISTS (SELECT 1 FROM rollup_open WHERE run_seq = r.seq), {facts}
FROM runs r WHERE r.seq < ? ORDER BY r.seq DESC LIMIT ?

-- name: move_rollup_backlog
UPDATE rollup_backlog SET below_seq = ?

-- name: end_rollup_backlog
DELETE FROM rollup_backlog

-- name: forget_rollup_open
DELETE FROM rollup_open WHERE run_seq >= ?

-- name: edge_facts
SELECT {facts} FROM runs
WHERE project_id = ? AND seq > ? AND seq < ? AND created_at >= ? AND created_at < ?
  AND status IN ('completed', 'failed', 'cancelled')

-- name: backlog_facts
-- Runs of whole buckets that are not in the sums yet.
SELECT {facts} FROM runs r
WHERE project_id = ? AND seq < ? AND created_at >= ? AND created_at < ?
  AND status IN ('completed', 'failed', 'cancelled') AND NOT EXISTS (SELECT 1 FROM rollup_open WHERE run_seq = r.seq)
ORDER BY seq DESC LIMIT ?

-- name: count_active
SELECT count(*) FROM runs
WHERE project_id = ? AND status IN ('pending', 'running', 'waiting') AND status <> 'completed'
  AND created_at >= ? AND created_at < ?

-- name: usage_lines
WITH parts AS (
  SELECT name, provider, model, runs, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens
  FROM json_each(?3) AS s CROSS JOIN usage_rollups AS u
  WHERE u.project_id = ?1 AND u.way = ?2 AND u.width = s.value ->> 0 AND u.bucket >= s.value ->> 1
    AND u.bucket < s.value ->> 2
  UNION ALL
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
  FROM json_each(?4)
),
lines AS MATERIALIZED (
  SELECT iif(?6, model, name) AS name, provider, model, sum(runs) AS runs,
    sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
    sum(cached_input_tokens) AS cached_input_tokens, sum(reasoning_tokens) AS reasoning_tokens
  FROM parts GROUP BY 1, 2, 3 HAVING sum(runs) <> 0
),
named AS MATERIALIZED (
  SELECT name, sum(input_tokens + output_tokens) AS tokens FROM lines GROUP BY name
),
first AS MATERIALIZED (
  SELECT name FROM named ORDER BY iif(?2 = 'day', name, '') DESC, tokens DESC, name LIMIT ?5
)
SELECT lines.*, (SELECT count(*) FROM named) FROM lines WHERE name IN (SELECT name FROM first)

-- name: count_usage_families
SELECT count(*) FROM (
  SELECT 1 FROM usage_rollups
  WHERE project_id = ? AND way = 'family' AND width = ? AND bucket >= ? AND bucket < ? LIMIT ?
)

-- name: activity_targets
-- Steps from one name to the next within the primary key. The name of runs without a target is empty.
WITH RECURSIVE names (name) AS (
  SELECT min(name) FROM activity_rollups WHERE project_id = ?1 AND way = 'target' AND name > ''
  UNION ALL
  SELECT (SELECT min(a.name) FROM activity_rollups AS a
          WHERE a.project_id = ?1 AND a.way = 'target' AND a.name > names.name)
  FROM names WHERE names.name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL LIMIT ?2

-- name: activity_between
SELECT bucket, kind, status, runs, durations FROM activity_rollups
WHERE project_id = ? AND way = ? AND name = ? AND width = ? AND bucket >= ? AND bucket < ?

-- name: integrity_rollup_runs
SELECT project_id, {facts} FROM runs r
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
  SELECT *, iif(way = 'gone', name, '') AS part FROM usage_rollups
) GROUP BY project_id, way, width, bucket / 2419200000, part, provider, model

-- name: integrity_activity
SELECT project_id, way, width, bucket / 2419200000, kind, status, runs, durations FROM activity_rollups
