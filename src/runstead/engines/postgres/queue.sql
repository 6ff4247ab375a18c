-- name: due_soonest
SELECT project_id, due_at, seq FROM runs WHERE due_at <= $1 AND created_at >= 0 ORDER BY due_at, seq LIMIT $2

-- name: next_due
SELECT due_at FROM runs WHERE due_at IS NOT NULL AND created_at >= 0 ORDER BY due_at, seq LIMIT 1

-- name: due_heads
-- The first due runs of every project. Each project costs one index probe.
WITH RECURSIVE projects (name, soonest) AS (
  (SELECT project_id, due_at FROM runs WHERE due_at IS NOT NULL AND seq > 0 ORDER BY project_id, due_at LIMIT 1)
  UNION ALL
  SELECT next.project_id, next.due_at FROM projects CROSS JOIN LATERAL (
    SELECT project_id, due_at FROM runs WHERE due_at IS NOT NULL AND seq > 0 AND project_id > projects.name
    ORDER BY project_id, due_at LIMIT 1
  ) AS next
)
SELECT heads.* FROM projects CROSS JOIN LATERAL (
  SELECT project_id, due_at, seq FROM runs
  WHERE project_id = projects.name AND due_at <= $1 AND seq > 0 ORDER BY due_at, seq LIMIT $2
) AS heads
WHERE soonest <= $1

-- name: lock_due
-- Locks up to $3 runs in the given order; skips locked ones.
SELECT free.* FROM unnest($1::bigint[]) WITH ORDINALITY AS turns (run, turn)
CROSS JOIN LATERAL (
  SELECT {locked} FROM {runs} WHERE seq = ANY (ARRAY[turns.run]) AND due_at <= $2
  ORDER BY seq FOR UPDATE OF runs SKIP LOCKED
) AS free
ORDER BY turn LIMIT $3

-- name: queued_targets
-- '' means no target. Each target costs one index probe.
WITH RECURSIVE found (name) AS (
  SELECT (
    SELECT coalesce(target, '') FROM runs WHERE project_id = $1 AND available_at IS NOT NULL
    ORDER BY coalesce(target, '') LIMIT 1
  )
  UNION ALL
  SELECT (
    SELECT coalesce(target, '') FROM runs
    WHERE project_id = $1 AND available_at IS NOT NULL AND coalesce(target, '') > found.name
    ORDER BY coalesce(target, '') LIMIT 1
  )
  FROM found WHERE name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL

-- name: next_available
-- Of the kinds $2. Each priority costs two index probes: one to find it, one for its first run after $3.
WITH RECURSIVE steps (k, step) AS (
  SELECT k, (
    SELECT priority FROM runs WHERE project_id = $1 AND kind = k AND available_at IS NOT NULL AND seq > 0
    ORDER BY priority DESC LIMIT 1
  )
  FROM unnest($2::text[]) AS kinds (k)
  UNION ALL
  SELECT k, (
    SELECT priority FROM runs
    WHERE project_id = $1 AND kind = k AND available_at IS NOT NULL AND seq > 0 AND priority < step
    ORDER BY priority DESC LIMIT 1
  )
  FROM steps WHERE step IS NOT NULL
)
SELECT min(soonest.available_at)
FROM steps CROSS JOIN LATERAL (
  SELECT available_at FROM runs
  WHERE project_id = $1 AND kind = k AND priority = step AND seq > 0 AND available_at > $3
  ORDER BY available_at, seq LIMIT 1
) AS soonest

-- name: push_soonest
SELECT project_id, push_service_id, target, seq, priority, available_at,
  (SELECT true FROM concurrency_limits AS l WHERE l.project_id = runs.project_id LIMIT 1) IS TRUE AS limited
FROM runs WHERE push_service_id IS NOT NULL AND available_at <= $1 ORDER BY available_at, seq LIMIT $2

-- name: push_heads
-- The first $3 due runs of each (project, service, target, priority) in the push queue, except the services $2. Each
-- combination costs one index probe.
WITH RECURSIVE projects (p) AS (
  SELECT (
    SELECT project_id FROM runs WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL ORDER BY project_id LIMIT 1
  )
  UNION ALL
  SELECT (
    SELECT project_id FROM runs WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL AND project_id > p
    ORDER BY project_id LIMIT 1
  )
  FROM projects WHERE p IS NOT NULL
), services (p, s) AS (
  SELECT p, (
    SELECT push_service_id FROM runs WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL AND project_id = p
    ORDER BY push_service_id LIMIT 1
  )
  FROM projects WHERE p IS NOT NULL
  UNION ALL
  SELECT p, (
    SELECT push_service_id FROM runs WHERE push_service_id > s AND available_at IS NOT NULL AND project_id = p
    ORDER BY push_service_id LIMIT 1
  )
  FROM services WHERE s IS NOT NULL
), targets (p, s, t) AS (
  SELECT p, s, (
    SELECT coalesce(target, '') FROM runs WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p
    ORDER BY coalesce(target, '') LIMIT 1
  )
  FROM services WHERE s IS NOT NULL AND s <> ALL ($2::text[])
  UNION ALL
  SELECT p, s, (
    SELECT coalesce(target, '') FROM runs
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') > t
    ORDER BY coalesce(target, '') LIMIT 1
  )
  FROM targets WHERE t IS NOT NULL
), steps (p, s, t, step) AS (
  SELECT p, s, t, (
    SELECT priority FROM runs
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') = t
    ORDER BY priority DESC LIMIT 1
  )
  FROM targets WHERE t IS NOT NULL
  UNION ALL
  SELECT p, s, t, (
    SELECT priority FROM runs
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') = t
      AND priority < step
    ORDER BY priority DESC LIMIT 1
  )
  FROM steps WHERE step IS NOT NULL
)
SELECT p AS project_id, s AS push_service_id, nullif(t, '') AS target, heads.*,
  (SELECT true FROM concurrency_limits AS l WHERE l.project_id = p LIMIT 1) IS TRUE AS limited
FROM steps CROSS JOIN LATERAL (
  SELECT seq, priority, available_at FROM runs
  WHERE project_id = p AND push_service_id = s AND coalesce(target, '') = t AND priority = step AND available_at <= $1
  ORDER BY available_at, seq LIMIT $3
) AS heads

-- name: lock_pushes
-- Locks up to $3 runs in the given order; skips locked ones.
SELECT free.* FROM unnest($1::bigint[]) WITH ORDINALITY AS turns (run, turn)
CROSS JOIN LATERAL (
  SELECT {locked} FROM {runs} WHERE seq = ANY (ARRAY[turns.run]) AND push_service_id IS NOT NULL AND available_at <= $2
  ORDER BY seq FOR UPDATE OF runs SKIP LOCKED
) AS free
ORDER BY turn LIMIT $3

-- name: cancelled_pushes
SELECT {columns} FROM {runs}
WHERE push_service_id IS NOT NULL AND cancel_requested_at IS NOT NULL AND cancel_stopped_at IS NULL
  AND push_service_id <> ALL ($1::text[]) AND project_id <> ALL ($2::text[])
ORDER BY cancel_requested_at, seq LIMIT $3
