-- name: note_replica
INSERT INTO replicas AS r ({replica}) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid, url = excluded.url,
  version = excluded.version, seen_at = excluded.seen_at
RETURNING r.started_at

-- name: forget_replicas
-- Others may be doing the same: whoever is in the way is passed over.
DELETE FROM replicas WHERE id = ANY (ARRAY(SELECT id FROM replicas WHERE seen_at <= $1 FOR UPDATE SKIP LOCKED))

-- name: replicas
SELECT {clock}, {replica} FROM replicas ORDER BY started_at, id

-- name: leave_replica
DELETE FROM replicas WHERE id = $1

-- name: depths
SELECT project_id, available, queued - available, running, waiting
FROM unnest($1::text[]) WITH ORDINALITY AS named (project_id, place)
CROSS JOIN LATERAL (
  SELECT count(*) AS queued, count(*) FILTER (WHERE available_at <= $2) AS available FROM (
    SELECT available_at FROM runs
    WHERE project_id = named.project_id AND available_at IS NOT NULL LIMIT $3
  ) AS looked
) AS queue
CROSS JOIN LATERAL (
  SELECT count(*) AS running FROM (
    SELECT FROM runs
    WHERE project_id = named.project_id AND status = 'running' AND status <> 'completed' LIMIT $3
  ) AS looked
) AS run
CROSS JOIN LATERAL (
  SELECT count(*) AS waiting FROM (
    SELECT FROM runs
    WHERE project_id = named.project_id AND status = 'waiting' AND status <> 'completed' LIMIT $3
  ) AS looked
) AS wait
ORDER BY place
