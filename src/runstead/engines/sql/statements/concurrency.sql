-- name: occupancies
-- The limits of projects, and how many runs count for each, up to `:most`.
-- postgres
SELECT {clock} AS now, l.project_id, l.target, l.max_running, CASE l.target
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
SELECT {clock} AS now, l.project_id, l.target, l.max_running, CASE l.target
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
DELETE FROM concurrency_limits WHERE project_id = :project_id RETURNING project_id, target, max_running, 0 AS running

-- name: add_concurrency_limit
INSERT INTO concurrency_limits (project_id, target, max_running) VALUES (:project_id, :target, :max_running)
