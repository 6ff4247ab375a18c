-- name: due_soonest
SELECT project_id, due_at, seq FROM runs INDEXED BY runs_due_at WHERE due_at <= ? ORDER BY due_at, seq LIMIT ?

-- name: next_due
SELECT min(due_at) FROM runs INDEXED BY runs_due_at WHERE due_at IS NOT NULL

-- name: due_projects
-- Projects with a due deadline. Each project costs one index probe.
WITH RECURSIVE projects (name) AS (
  SELECT min(project_id) FROM runs INDEXED BY runs_due WHERE due_at IS NOT NULL
  UNION ALL
  SELECT (SELECT min(project_id) FROM runs INDEXED BY runs_due WHERE due_at IS NOT NULL AND project_id > name)
  FROM projects WHERE name IS NOT NULL
)
SELECT name FROM projects
WHERE (SELECT min(due_at) FROM runs INDEXED BY runs_due WHERE due_at IS NOT NULL AND project_id = name) <= ?1

-- name: due_head
SELECT due_at, seq FROM runs INDEXED BY runs_due WHERE project_id = ? AND due_at <= ? ORDER BY due_at, seq LIMIT ?

-- name: has_pinned
-- Whether runs that are pinned to the version ?2 are queued.
SELECT 1 FROM runs INDEXED BY runs_pinned_kind
WHERE project_id = ?1 AND worker_version = ?2 AND pinned_available_at IS NOT NULL LIMIT 1

-- name: queued_targets
-- '' means no target. Each target costs one index probe.
WITH RECURSIVE found (name) AS (
  SELECT min(coalesce(target, '')) FROM runs INDEXED BY runs_queue_target
  WHERE project_id = ?1 AND available_at IS NOT NULL
  UNION ALL
  SELECT (
    SELECT min(coalesce(target, '')) FROM runs INDEXED BY runs_queue_target
    WHERE project_id = ?1 AND available_at IS NOT NULL AND coalesce(target, '') > found.name
  )
  FROM found WHERE name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL

-- name: next_available
-- Of the kinds ?2. Each priority costs two index probes: one to find it, one for its first run after ?3.
WITH RECURSIVE steps (k, step) AS (
  SELECT value, (
    SELECT max(priority) FROM runs INDEXED BY runs_queue_kind
    WHERE project_id = ?1 AND kind = value AND available_at IS NOT NULL
  )
  FROM json_each(?2)
  UNION ALL
  SELECT k, (
    SELECT max(priority) FROM runs INDEXED BY runs_queue_kind
    WHERE project_id = ?1 AND kind = k AND available_at IS NOT NULL AND priority < step
  )
  FROM steps WHERE step IS NOT NULL
)
SELECT min((
  SELECT min(available_at) FROM runs INDEXED BY runs_queue_kind
  WHERE project_id = ?1 AND kind = k AND priority = step AND available_at > ?3
))
FROM steps WHERE step IS NOT NULL

-- name: push_soonest
SELECT {columns} FROM runs INDEXED BY runs_push_at
WHERE push_service_id IS NOT NULL AND available_at <= ? ORDER BY available_at, seq LIMIT ?

-- name: push_steps
-- The (project, service, target, priority) groups of queued pushes that have a due run.
WITH RECURSIVE projects (p) AS (
  SELECT min(project_id) FROM runs INDEXED BY runs_push WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL
  UNION ALL
  SELECT (
    SELECT min(project_id) FROM runs INDEXED BY runs_push
    WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL AND project_id > p
  )
  FROM projects WHERE p IS NOT NULL
), services (p, s) AS (
  SELECT p, (
    SELECT min(push_service_id) FROM runs INDEXED BY runs_push
    WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL AND project_id = p
  )
  FROM projects WHERE p IS NOT NULL
  UNION ALL
  SELECT p, (
    SELECT min(push_service_id) FROM runs INDEXED BY runs_push
    WHERE push_service_id > s AND available_at IS NOT NULL AND project_id = p
  )
  FROM services WHERE s IS NOT NULL
), targets (p, s, t) AS (
  SELECT p, s, (
    SELECT min(coalesce(target, '')) FROM runs INDEXED BY runs_push
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p
  )
  FROM services WHERE s IS NOT NULL AND s NOT IN (SELECT value FROM json_each(?2))
  UNION ALL
  SELECT p, s, (
    SELECT min(coalesce(target, '')) FROM runs INDEXED BY runs_push
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') > t
  )
  FROM targets WHERE t IS NOT NULL
), steps (p, s, t, step) AS (
  SELECT p, s, t, (
    SELECT max(priority) FROM runs INDEXED BY runs_push
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') = t
  )
  FROM targets WHERE t IS NOT NULL
  UNION ALL
  SELECT p, s, t, (
    SELECT max(priority) FROM runs INDEXED BY runs_push
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') = t
      AND priority < step
  )
  FROM steps WHERE step IS NOT NULL
)
SELECT p, s, t, step FROM steps
WHERE step IS NOT NULL AND (
  SELECT min(available_at) FROM runs INDEXED BY runs_push
  WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') = t
    AND priority = step
) <= ?1

-- name: push_head
SELECT {columns} FROM runs INDEXED BY runs_push
WHERE project_id = ? AND push_service_id = ? AND coalesce(target, '') = ? AND priority = ? AND available_at <= ?
ORDER BY available_at, seq LIMIT ?

-- name: cancelled_pushes
SELECT {columns} FROM runs INDEXED BY runs_push_cancelled
WHERE push_service_id IS NOT NULL AND cancel_requested_at IS NOT NULL AND cancel_stopped_at IS NULL
  AND push_service_id NOT IN (SELECT value FROM json_each(?1))
  AND project_id NOT IN (SELECT value FROM json_each(?2))
ORDER BY cancel_requested_at, seq LIMIT ?3
