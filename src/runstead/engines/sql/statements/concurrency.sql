-- name: occupancies
-- The limits of projects, and how many runs count for each, up to `:most`; 0 where `max_running` is at least `:uncounted`.
SELECT {clock} AS now, l.project_id, l.target, l.max_running, l.max_running_per_key, l.rate_limit,
  l.rate_period_seconds, l.rate_per_key, l.rate_unit, CASE
    WHEN l.max_running >= :uncounted::bigint THEN 0
    WHEN l.target = '' THEN (
      SELECT count(*) FROM (
        SELECT 1 FROM runs AS r {INDEXED BY runs_running}
        WHERE r.project_id = l.project_id AND r.status = 'running' AND r.available_at IS NULL LIMIT :most
      ) AS found
    )
    ELSE (
      SELECT count(*) FROM (
        SELECT 1 FROM runs AS r {INDEXED BY runs_running}
        WHERE r.project_id = l.project_id AND r.status = 'running' AND r.available_at IS NULL
          AND coalesce(r.target, '') = l.target
        LIMIT :most
      ) AS found
    )
  END AS running
FROM concurrency_limits AS l WHERE l.project_id = ANY (:project_ids::text[]) ORDER BY l.project_id, l.target

-- name: drop_concurrency_limits
DELETE FROM concurrency_limits WHERE project_id = :project_id 
RETURNING project_id, target, max_running, max_running_per_key, rate_limit, rate_period_seconds, rate_per_key, rate_unit,
  0 AS running

-- name: add_concurrency_limit
INSERT INTO concurrency_limits
  (project_id, target, max_running, max_running_per_key, rate_limit, rate_period_seconds, rate_per_key, rate_unit)
VALUES (
  :project_id, :target, :max_running, :max_running_per_key, :rate_limit, :rate_period_seconds, :rate_per_key, :rate_unit
)

-- name: token_rates
SELECT target, rate_limit, rate_period_seconds, rate_per_key FROM concurrency_limits
WHERE project_id = ANY (ARRAY[:project_id::text]) AND rate_unit = 'tokens' ORDER BY project_id

-- name: any_token_rate
SELECT 1 FROM concurrency_limits WHERE project_id = ANY (ARRAY[:project_id::text]) AND rate_unit = 'tokens'
ORDER BY project_id LIMIT 1

-- name: rate_buckets
-- Of rates of runs and of tokens: a target has one rate.
-- postgres
SELECT b.project_id, b.target, b.key, b.missing, b.at
FROM unnest(:project_ids::text[], :targets::text[], :keys::text[]) AS wanted (project_id, target, key)
CROSS JOIN LATERAL (
  (
    SELECT * FROM rate_buckets
    WHERE project_id = wanted.project_id AND target = wanted.target AND key = wanted.key LIMIT 1
  )
  UNION ALL
  (
    SELECT * FROM token_buckets
    WHERE project_id = wanted.project_id AND target = wanted.target AND key = wanted.key LIMIT 1
  )
) AS b
-- sqlite
SELECT b.project_id, b.target, b.key, b.missing, b.at
FROM json_each(:project_ids) AS p
CROSS JOIN json_each(:targets) AS t ON t.key = p.key CROSS JOIN json_each(:keys) AS k ON k.key = p.key
CROSS JOIN rate_buckets AS b ON b.project_id = p.value AND b.target = t.value AND b.key = k.value
UNION ALL
SELECT b.project_id, b.target, b.key, b.missing, b.at
FROM json_each(:project_ids) AS p
CROSS JOIN json_each(:targets) AS t ON t.key = p.key CROSS JOIN json_each(:keys) AS k ON k.key = p.key
CROSS JOIN token_buckets AS b ON b.project_id = p.value AND b.target = t.value AND b.key = k.value

-- name: put_rate_bucket | put_token_bucket
INSERT INTO {rate_buckets|token_buckets} (project_id, target, key, missing, at, empty_until, full_at)
VALUES (:project_id, :target, :key, :missing, :at, :empty_until, :full_at)
ON CONFLICT (project_id, target, key) DO UPDATE SET
  missing = excluded.missing, at = excluded.at, empty_until = excluded.empty_until, full_at = excluded.full_at

-- name: drop_full_rate_buckets | drop_full_token_buckets
DELETE FROM {rate_buckets|token_buckets} WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM {rate_buckets|token_buckets}
  WHERE project_id = :project_id AND full_at <= :now::bigint ORDER BY full_at LIMIT :limit
))

-- name: drop_rate_buckets | drop_token_buckets
DELETE FROM {rate_buckets|token_buckets} WHERE project_id = :project_id AND target = :target

-- name: next_token
-- The soonest time after `:since` at which an empty bucket of these targets has a token. Each target costs two index probes.
-- postgres
SELECT min(soonest.empty_until) FROM unnest(:targets::text[]) AS targets (name) CROSS JOIN LATERAL (
  (
    SELECT empty_until FROM rate_buckets
    WHERE project_id = :project_id AND target = name AND empty_until > :since::bigint ORDER BY empty_until LIMIT 1
  )
  UNION ALL
  (
    SELECT empty_until FROM token_buckets
    WHERE project_id = :project_id AND target = name AND empty_until > :since::bigint ORDER BY empty_until LIMIT 1
  )
) AS soonest
-- sqlite
SELECT min(soonest) FROM (
  SELECT (
    SELECT min(empty_until) FROM rate_buckets
    WHERE project_id = :project_id AND target = value AND empty_until > :since
  ) AS soonest FROM json_each(:targets)
  UNION ALL
  SELECT (
    SELECT min(empty_until) FROM token_buckets
    WHERE project_id = :project_id AND target = value AND empty_until > :since
  ) FROM json_each(:targets)
)

-- name: add_keyed_target
INSERT INTO keyed_targets (project_id, target) VALUES (:project_id, :target) ON CONFLICT DO NOTHING

-- name: set_last_key
UPDATE keyed_targets SET last_key = :last_key WHERE project_id = :project_id AND target = :target

-- name: keyed_targets
SELECT target, last_key FROM keyed_targets WHERE project_id = :project_id ORDER BY project_id, target

-- name: running_of_key
SELECT count(*) FROM (
  SELECT 1 FROM runs {INDEXED BY runs_running_key}
  WHERE project_id = :project_id AND target = :target AND concurrency_key = :key AND status = 'running'
    AND available_at IS NULL
  LIMIT :most::bigint
) AS found

-- name: turns
-- The next keys of a target after `:after` (up to `:until`, if it is set) with a due run, and with less than `:per_key`
-- running runs, if it is set, and with a token, if `:rated`. Each key that is passed costs a few index probes. After
-- `:visited` keys the last one is returned too.
-- postgres
WITH RECURSIVE steps (key, number) AS (
  SELECT (
    SELECT concurrency_key FROM runs
    WHERE project_id = :project_id AND target = :target AND concurrency_key > :after AND available_at IS NOT NULL
      AND created_at >= 0
    ORDER BY concurrency_key LIMIT 1
  ), 1
  UNION ALL
  SELECT (
    SELECT concurrency_key FROM runs
    WHERE project_id = :project_id AND target = :target AND concurrency_key > steps.key AND available_at IS NOT NULL
      AND created_at >= 0
    ORDER BY concurrency_key LIMIT 1
  ), number + 1
  FROM steps WHERE key IS NOT NULL AND number < :visited::bigint
)
SELECT :target::text AS target, key, running FROM (
  SELECT key, number, (
    SELECT count(*) FROM (
      SELECT FROM runs
      WHERE project_id = :project_id AND target = :target AND concurrency_key = key AND status = 'running'
        AND available_at IS NULL
      LIMIT coalesce(:per_key::bigint, 0)
    ) AS found
  ) AS running
  FROM steps WHERE key IS NOT NULL AND (:until::text IS NULL OR key <= :until)
) AS visited
WHERE number = :visited OR (
  (:per_key::bigint IS NULL OR running < :per_key) AND CASE WHEN :rated::boolean THEN (
    SELECT true FROM rate_buckets AS b
    WHERE b.project_id = :project_id AND b.target = :target AND b.key = visited.key AND b.empty_until > :now::bigint
    LIMIT 1
  ) IS NOT TRUE AND (
    SELECT true FROM token_buckets AS b
    WHERE b.project_id = :project_id AND b.target = :target AND b.key = visited.key AND b.empty_until > :now::bigint
    LIMIT 1
  ) IS NOT TRUE ELSE true END AND (
    SELECT true FROM runs
    WHERE project_id = :project_id AND target = :target AND concurrency_key = key AND available_at <= :now::bigint
      AND created_at >= 0
    ORDER BY available_at LIMIT 1
  )
)
LIMIT :most::bigint
-- sqlite
WITH RECURSIVE steps (key, number) AS (
  SELECT (
    SELECT min(concurrency_key) FROM runs INDEXED BY runs_due_key
    WHERE project_id = :project_id AND target = :target AND concurrency_key > :after AND available_at IS NOT NULL
  ), 1
  UNION ALL
  SELECT (
    SELECT min(concurrency_key) FROM runs INDEXED BY runs_due_key
    WHERE project_id = :project_id AND target = :target AND concurrency_key > steps.key AND available_at IS NOT NULL
  ), number + 1
  FROM steps WHERE key IS NOT NULL AND number < :visited
)
SELECT :target AS target, key, running FROM (
  SELECT key, number, (
    SELECT count(*) FROM (
      SELECT 1 FROM runs INDEXED BY runs_running_key
      WHERE project_id = :project_id AND target = :target AND concurrency_key = steps.key AND status = 'running'
        AND available_at IS NULL
      LIMIT coalesce(:per_key, 0)
    )
  ) AS running
  FROM steps WHERE key IS NOT NULL AND (:until IS NULL OR key <= :until)
) AS visited
WHERE number = :visited OR (
  (:per_key IS NULL OR running < :per_key) AND CASE WHEN :rated THEN NOT EXISTS (
    SELECT 1 FROM rate_buckets AS b
    WHERE b.project_id = :project_id AND b.target = :target AND b.key = visited.key AND b.empty_until > :now
  ) AND NOT EXISTS (
    SELECT 1 FROM token_buckets AS b
    WHERE b.project_id = :project_id AND b.target = :target AND b.key = visited.key AND b.empty_until > :now
  ) ELSE true END AND EXISTS (
    SELECT 1 FROM runs INDEXED BY runs_due_key
    WHERE project_id = :project_id AND target = :target AND concurrency_key = visited.key AND available_at <= :now
  )
)
LIMIT :most
