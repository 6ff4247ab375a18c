-- name: occupancies
SELECT l.target, l.max_running, CASE l.target
  WHEN '' THEN (
    SELECT count(*) FROM (
      SELECT 1 FROM runs INDEXED BY runs_running
      WHERE project_id = ?1 AND status = 'running' AND available_at IS NULL LIMIT ?2
    )
  )
  ELSE (
    SELECT count(*) FROM (
      SELECT 1 FROM runs AS r INDEXED BY runs_running
      WHERE r.project_id = ?1 AND r.status = 'running' AND r.available_at IS NULL
        AND coalesce(r.target, '') = l.target
      LIMIT ?2
    )
  )
END
FROM concurrency_limits AS l WHERE l.project_id = ?1 ORDER BY l.target

-- name: drop_concurrency_limits
DELETE FROM concurrency_limits WHERE project_id = ?

-- name: add_concurrency_limit
INSERT INTO concurrency_limits (project_id, target, max_running) VALUES (?, ?, ?)
