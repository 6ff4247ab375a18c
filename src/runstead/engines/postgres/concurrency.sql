-- name: occupancies
-- The limits of projects, and how many runs count for each, up to $2.
SELECT l.project_id, l.target, l.max_running, CASE l.target
    WHEN '' THEN (
      SELECT count(*) FROM (
        SELECT FROM runs AS r WHERE r.project_id = l.project_id AND r.status = 'running' AND r.available_at IS NULL
        LIMIT $2
      ) AS found
    )
    ELSE (
      SELECT count(*) FROM (
        SELECT FROM runs AS r WHERE r.project_id = l.project_id AND r.status = 'running' AND r.available_at IS NULL
          AND coalesce(r.target, '') = l.target
        LIMIT $2
      ) AS found
    )
  END,
  {clock} AS now
FROM concurrency_limits AS l WHERE l.project_id = ANY ($1::text[]) ORDER BY l.project_id, l.target

-- name: drop_concurrency_limits
DELETE FROM concurrency_limits WHERE project_id = $1

-- name: add_concurrency_limits
INSERT INTO concurrency_limits (project_id, target, max_running)
SELECT $1, * FROM unnest($2::text[], $3::bigint[])
