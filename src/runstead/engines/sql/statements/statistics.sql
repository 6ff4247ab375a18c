-- name: depths
-- postgres
SELECT project_id, available, queued - available AS delayed, running, waiting
FROM unnest(:project_ids::text[]) WITH ORDINALITY AS named (project_id, place)
CROSS JOIN LATERAL (
  SELECT count(*) AS queued, count(*) FILTER (WHERE available_at <= :now) AS available FROM (
    SELECT available_at FROM runs
    WHERE project_id = named.project_id AND available_at IS NOT NULL LIMIT :most
  ) AS looked
) AS queue
CROSS JOIN LATERAL (
  SELECT count(*) AS running FROM (
    SELECT FROM runs
    WHERE project_id = named.project_id AND status = 'running' AND status <> 'completed' LIMIT :most
  ) AS looked
) AS run
CROSS JOIN LATERAL (
  SELECT count(*) AS waiting FROM (
    SELECT FROM runs
    WHERE project_id = named.project_id AND status = 'waiting' AND status <> 'completed' LIMIT :most
  ) AS looked
) AS wait
ORDER BY place
-- sqlite
-- A subquery returns one value, so the two counts of the queue are one JSON array.
WITH counted AS MATERIALIZED (
  SELECT named.value AS project_id,
    (SELECT json_array(count(*), coalesce(sum(available_at <= :now), 0)) FROM (
      SELECT available_at FROM runs INDEXED BY runs_queue_kind
      WHERE project_id = named.value AND available_at IS NOT NULL LIMIT :most
    )) AS queue,
    (SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_by_status
      WHERE project_id = named.value AND status = 'running' AND status <> 'completed' LIMIT :most)) AS running,
    (SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_by_status
      WHERE project_id = named.value AND status = 'waiting' AND status <> 'completed' LIMIT :most)) AS waiting
  FROM json_each(:project_ids) AS named
)
SELECT project_id, json_extract(queue, '$[1]') AS available,
  json_extract(queue, '$[0]') - json_extract(queue, '$[1]') AS delayed, running, waiting
FROM counted

-- name: measured_projects
SELECT id, slug FROM projects ORDER BY created_at, id LIMIT :projects_max

-- name: queue_ages
-- The age of the oldest available run of each project and target. Each (project, target, kind, priority) in the queue
-- costs one index probe.
WITH RECURSIVE queues (p, n) AS (
  SELECT (
    SELECT project_id FROM runs WHERE available_at IS NOT NULL ORDER BY project_id, coalesce(target, '') LIMIT 1
  ), 1
  UNION ALL
  SELECT (
    SELECT project_id FROM runs WHERE available_at IS NOT NULL AND project_id > p
    ORDER BY project_id, coalesce(target, '') LIMIT 1
  ), n + 1
  FROM queues WHERE p IS NOT NULL AND n < :queues_max
), targets (p, t, n) AS (
  SELECT p, (
    SELECT coalesce(target, '') FROM runs WHERE project_id = p AND available_at IS NOT NULL
    ORDER BY coalesce(target, '') LIMIT 1
  ), 1
  FROM queues WHERE p IS NOT NULL
  UNION ALL
  SELECT p, (
    SELECT coalesce(target, '') FROM runs WHERE project_id = p AND available_at IS NOT NULL AND coalesce(target, '') > t
    ORDER BY coalesce(target, '') LIMIT 1
  ), n + 1
  FROM targets WHERE t IS NOT NULL AND n < :queues_max
), kinds (p, t, k) AS (
  SELECT p, t, (
    SELECT kind FROM runs WHERE project_id = p AND coalesce(target, '') = t AND available_at IS NOT NULL
    ORDER BY kind LIMIT 1
  )
  FROM targets WHERE t IS NOT NULL
  UNION ALL
  SELECT p, t, (
    SELECT kind FROM runs WHERE project_id = p AND coalesce(target, '') = t AND available_at IS NOT NULL AND kind > k
    ORDER BY kind LIMIT 1
  )
  FROM kinds WHERE k IS NOT NULL
), steps (p, t, k, step) AS (
  SELECT p, t, k, (
    SELECT priority FROM runs
    WHERE project_id = p AND coalesce(target, '') = t AND kind = k AND available_at IS NOT NULL
    ORDER BY priority DESC LIMIT 1
  )
  FROM kinds WHERE k IS NOT NULL
  UNION ALL
  SELECT p, t, k, (
    SELECT priority FROM runs
    WHERE project_id = p AND coalesce(target, '') = t AND kind = k AND available_at IS NOT NULL AND priority < step
    ORDER BY priority DESC LIMIT 1
  )
  FROM steps WHERE step IS NOT NULL
)
SELECT coalesce((SELECT slug FROM projects WHERE id = p), p) AS project, t AS target, :now - min(head) AS age_ms
FROM (
  SELECT p, t, (
    SELECT available_at FROM runs
    WHERE project_id = p AND coalesce(target, '') = t AND kind = k AND priority = step AND available_at IS NOT NULL
    ORDER BY available_at, seq LIMIT 1
  ) AS head
  FROM steps WHERE step IS NOT NULL
) AS heads
WHERE head <= :now
GROUP BY p, t
