-- name: note_replica
INSERT INTO replicas ({replica}) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid, url = excluded.url,
  version = excluded.version, seen_at = excluded.seen_at
RETURNING started_at

-- name: forget_replicas
DELETE FROM replicas WHERE seen_at <= ?

-- name: replicas
SELECT {replica} FROM replicas WHERE seen_at > ? ORDER BY started_at, id

-- name: leave_replica
DELETE FROM replicas WHERE id = ?

-- name: depth
SELECT ?1, available, queued - available,
  (SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_by_status
    WHERE project_id = ?1 AND status = 'running' AND status <> 'completed' LIMIT ?3)),
  (SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_by_status
    WHERE project_id = ?1 AND status = 'waiting' AND status <> 'completed' LIMIT ?3))
FROM (
  SELECT count(*) AS queued, coalesce(sum(available_at <= ?2), 0) AS available FROM (
    SELECT available_at FROM runs INDEXED BY runs_queue_kind
    WHERE project_id = ?1 AND available_at IS NOT NULL LIMIT ?3
  )
)
