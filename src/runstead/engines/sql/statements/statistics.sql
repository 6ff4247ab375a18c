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
