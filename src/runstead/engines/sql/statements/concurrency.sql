-- name: occupancies
-- The limits of projects, and how many runs count for each, up to `:most`.
-- postgres
SELECT {clock} AS now, l.project_id, l.target, l.max_running, l.max_running_per_key, CASE l.target
    WHEN '' THEN (
      SELECT count(*) FROM (
        SELECT FROM runs AS r WHERE r.project_id = l.project_id AND r.status = 'running' AND r.available_at IS NULL
        LIMIT :most
      ) AS found
    )
    ELSE (
      SELECT count(*) FROM (
        SELECT FROM runs AS r WHERE r.project_id = l.project_id AND r.status = 'running' AND r.available_at IS NULL
          AND coalesce(r.target, '') = l.target
        LIMIT :most
      ) AS found
    )
  END AS running
FROM concurrency_limits AS l WHERE l.project_id = ANY (:project_ids::text[]) ORDER BY l.project_id, l.target
-- sqlite
SELECT {clock} AS now, l.project_id, l.target, l.max_running, l.max_running_per_key, CASE l.target
  WHEN '' THEN (
    SELECT count(*) FROM (
      SELECT 1 FROM runs INDEXED BY runs_running
      WHERE project_id = l.project_id AND status = 'running' AND available_at IS NULL LIMIT :most
    )
  )
  ELSE (
    SELECT count(*) FROM (
      SELECT 1 FROM runs AS r INDEXED BY runs_running
      WHERE r.project_id = l.project_id AND r.status = 'running' AND r.available_at IS NULL
        AND coalesce(r.target, '') = l.target
      LIMIT :most
    )
  )
END AS running
FROM concurrency_limits AS l
WHERE l.project_id IN (SELECT value FROM json_each(:project_ids)) ORDER BY l.project_id, l.target

-- name: drop_concurrency_limits
DELETE FROM concurrency_limits WHERE project_id = :project_id 
RETURNING project_id, target, max_running, max_running_per_key, 0 AS running

-- name: add_concurrency_limit
INSERT INTO concurrency_limits (project_id, target, max_running, max_running_per_key)
VALUES (:project_id, :target, :max_running, :max_running_per_key)

-- name: add_keyed_target
INSERT INTO keyed_targets (project_id, target) VALUES (:project_id, :target) ON CONFLICT DO NOTHING

-- name: set_last_key
UPDATE keyed_targets SET last_key = :last_key WHERE project_id = :project_id AND target = :target

-- name: keyed_targets
SELECT target, last_key FROM keyed_targets WHERE project_id = :project_id ORDER BY project_id, target

-- name: running_of_key
-- postgres
SELECT count(*) FROM (
  SELECT FROM runs
  WHERE project_id = :project_id AND target = :target AND concurrency_key = :key AND status = 'running'
    AND available_at IS NULL
  LIMIT :most::bigint
) AS found
-- sqlite
SELECT count(*) FROM (
  SELECT 1 FROM runs INDEXED BY runs_running_key
  WHERE project_id = :project_id AND target = :target AND concurrency_key = :key AND status = 'running'
    AND available_at IS NULL
  LIMIT :most
)

-- name: turns
-- The next keys of a target after `:after` (up to `:until`, if it is set) with a due run, and with less than `:per_key`
-- running runs, if it is set. Each key that is passed costs a few index probes. After `:visited` keys the last one is
-- returned too.
-- postgres
WITH RECURSIVE steps (key, number) AS (
  SELECT (
    SELECT concurrency_key FROM runs
    WHERE project_id = :project_id AND target = :target AND concurrency_key > :after AND available_at IS NOT NULL
      AND version >= 0
    ORDER BY concurrency_key LIMIT 1
  ), 1
  UNION ALL
  SELECT (
    SELECT concurrency_key FROM runs
    WHERE project_id = :project_id AND target = :target AND concurrency_key > steps.key AND available_at IS NOT NULL
      AND version >= 0
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
  (:per_key::bigint IS NULL OR running < :per_key) AND (
    SELECT true FROM runs
    WHERE project_id = :project_id AND target = :target AND concurrency_key = key AND available_at <= :now::bigint
      AND version >= 0
    LIMIT 1
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
  (:per_key IS NULL OR running < :per_key) AND EXISTS (
    SELECT 1 FROM runs INDEXED BY runs_due_key
    WHERE project_id = :project_id AND target = :target AND concurrency_key = visited.key AND available_at <= :now
  )
)
LIMIT :most
