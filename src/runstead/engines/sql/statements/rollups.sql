-- name: any_rollup_entry
-- postgres
SELECT 1 FROM rollup_entries ORDER BY run_seq, version, action LIMIT 1

-- name: rollup_entries_of
SELECT action, facts FROM rollup_entries WHERE project_id = :project_id

-- name: rollup_backlog
SELECT below_seq FROM rollup_backlog

-- name: rollup_backlog_runs
SELECT r.seq, r.project_id, r.status IN ('completed', 'failed', 'cancelled')
  AND (SELECT true FROM rollup_open WHERE run_seq = r.seq LIMIT 1) IS NULL AS counts, {r.facts}
FROM runs AS r WHERE r.seq < :below_seq ORDER BY r.seq DESC LIMIT :limit

-- name: move_rollup_backlog
UPDATE rollup_backlog SET below_seq = :seq

-- name: end_rollup_backlog
DELETE FROM rollup_backlog

-- name: forget_rollup_open
DELETE FROM rollup_open WHERE run_seq >= :seq

-- name: edge_facts
-- postgres
SELECT {facts} FROM runs
WHERE project_id = :project_id AND -seq < -:seq_over::bigint AND -seq > -:seq_under::bigint AND seq > 0
  AND created_at >= :since AND created_at < :until
  AND status IN ('completed', 'failed', 'cancelled')
ORDER BY -seq
-- sqlite
SELECT {facts} FROM runs
WHERE project_id = :project_id AND seq > :seq_over AND seq < :seq_under AND created_at >= :since AND created_at < :until
  AND status IN ('completed', 'failed', 'cancelled')

-- name: backlog_facts
-- Runs of whole buckets that are not in the sums yet.
-- postgres
SELECT {facts} FROM runs AS r
WHERE project_id = :project_id AND -seq > -:below_seq::bigint AND seq > 0 AND created_at >= :since AND created_at < :until
  AND status IN ('completed', 'failed', 'cancelled')
  AND (SELECT true FROM rollup_open WHERE run_seq = r.seq LIMIT 1) IS NULL
ORDER BY -seq LIMIT :limit
-- sqlite
SELECT {facts} FROM runs AS r
WHERE project_id = :project_id AND seq < :below_seq AND created_at >= :since AND created_at < :until
  AND status IN ('completed', 'failed', 'cancelled') AND NOT EXISTS (SELECT 1 FROM rollup_open WHERE run_seq = r.seq)
ORDER BY seq DESC LIMIT :limit

-- name: count_active
SELECT count(*) FROM runs
WHERE project_id = :project_id AND status IN ('pending', 'running', 'waiting') AND status <> 'completed'
  AND created_at >= :since AND created_at < :until

-- name: usage_lines
-- `:spans` and `:unsummed` are JSON: the buckets of the grouping, and the lines that no sum has.
-- postgres
WITH parts AS (
  SELECT u.* FROM json_array_elements(:spans::json) AS s
  CROSS JOIN LATERAL (
    SELECT name, provider, model, runs, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens
    FROM usage_rollups AS r
    WHERE r.project_id = :project_id AND r.way = :way AND r.width = (s ->> 0)::bigint
      AND r.bucket >= (s ->> 1)::bigint AND r.bucket < (s ->> 2)::bigint
    OFFSET 0
  ) AS u
  UNION ALL
  SELECT l ->> 0, l ->> 1, l ->> 2, (l ->> 3)::bigint, (l ->> 4)::bigint, (l ->> 5)::bigint, (l ->> 6)::bigint, (l ->> 7)::bigint
  FROM json_array_elements(:unsummed::json) AS l
),
lines AS MATERIALIZED (
  SELECT CASE WHEN :by_model THEN model ELSE name END AS name, provider, model, sum(runs)::bigint AS runs,
    sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens,
    sum(cached_input_tokens)::bigint AS cached_input_tokens, sum(reasoning_tokens)::bigint AS reasoning_tokens
  FROM parts GROUP BY 1, 2, 3 HAVING sum(runs) <> 0
),
named AS MATERIALIZED (
  SELECT name, sum(input_tokens + output_tokens) AS tokens FROM lines GROUP BY name
),
first AS MATERIALIZED (
  SELECT name FROM named ORDER BY CASE WHEN :way = 'day' THEN name ELSE '' END DESC, tokens DESC, name LIMIT :groups
)
SELECT lines.*, (SELECT count(*) FROM named) AS groups FROM lines WHERE name = ANY (ARRAY(SELECT name FROM first))
-- sqlite
WITH parts AS (
  SELECT name, provider, model, runs, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens
  FROM json_each(:spans) AS s CROSS JOIN usage_rollups AS u
  WHERE u.project_id = :project_id AND u.way = :way AND u.width = s.value ->> 0 AND u.bucket >= s.value ->> 1
    AND u.bucket < s.value ->> 2
  UNION ALL
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
  FROM json_each(:unsummed)
),
lines AS MATERIALIZED (
  SELECT iif(:by_model, model, name) AS name, provider, model, sum(runs) AS runs,
    sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
    sum(cached_input_tokens) AS cached_input_tokens, sum(reasoning_tokens) AS reasoning_tokens
  FROM parts GROUP BY 1, 2, 3 HAVING sum(runs) <> 0
),
named AS MATERIALIZED (
  SELECT name, sum(input_tokens + output_tokens) AS tokens FROM lines GROUP BY name
),
first AS MATERIALIZED (
  SELECT name FROM named ORDER BY iif(:way = 'day', name, '') DESC, tokens DESC, name LIMIT :groups
)
SELECT lines.*, (SELECT count(*) FROM named) AS groups FROM lines WHERE name IN (SELECT name FROM first)

-- name: count_usage_families
SELECT count(*) FROM (
  SELECT 1 FROM usage_rollups
  WHERE project_id = :project_id AND way = 'family' AND width = :width AND bucket >= :since AND bucket < :until LIMIT :most
) AS found

-- name: activity_targets
-- Steps from one name to the next within the primary key. The name of runs without a target is empty.
WITH RECURSIVE names (name) AS (
  SELECT (
    SELECT name FROM activity_rollups WHERE project_id = :project_id::text AND way = 'target' AND name > '' ORDER BY name LIMIT 1
  )
  UNION ALL
  SELECT (SELECT a.name FROM activity_rollups AS a
          WHERE a.project_id = :project_id::text AND a.way = 'target' AND a.name > names.name ORDER BY a.name LIMIT 1)
  FROM names WHERE names.name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL LIMIT :most::bigint

-- name: activity_between
SELECT bucket, kind, status, runs, durations FROM activity_rollups
WHERE project_id = :project_id AND way = :way AND name = :name AND width = :width AND bucket >= :since AND bucket < :until

-- name: integrity_rollup_runs
SELECT project_id, {facts} FROM runs AS r
WHERE status IN ('completed', 'failed', 'cancelled') AND (
  NOT EXISTS (SELECT 1 FROM rollup_backlog WHERE below_seq > r.seq)
  OR EXISTS (SELECT 1 FROM rollup_open WHERE run_seq = r.seq)
)

-- name: integrity_rollup_entries
SELECT project_id, action, facts FROM rollup_entries

-- name: integrity_usage
SELECT project_id, way, width, bucket / 2419200000 AS weeks, part, provider, model, sum(runs) AS runs,
  sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cached_input_tokens) AS cached_input_tokens,
  sum(reasoning_tokens) AS reasoning_tokens
FROM (
  SELECT *, CASE WHEN way = 'gone' THEN name ELSE '' END AS part FROM usage_rollups
) AS parted GROUP BY project_id, way, width, bucket / 2419200000, part, provider, model

-- name: integrity_activity
SELECT project_id, way, width, bucket / 2419200000 AS weeks, kind, status, runs, durations FROM activity_rollups

-- name: drop_empty_usage
DELETE FROM usage_rollups
WHERE project_id = :project_id AND way = :way AND width = :width AND bucket = :bucket AND name = :name
  AND provider = :provider AND model = :model AND runs = 0
  AND input_tokens = 0 AND output_tokens = 0 AND cached_input_tokens = 0 AND reasoning_tokens = 0

-- name: drop_empty_activity
DELETE FROM activity_rollups
WHERE project_id = :project_id AND way = :way AND width = :width AND bucket = :bucket AND name = :name
  AND kind = :kind AND status = :status AND runs = 0 AND durations = :no_durations
