-- name: note_replica
INSERT INTO replicas ({replica}) VALUES ({:replica})
ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid, url = excluded.url,
  version = excluded.version, seen_at = excluded.seen_at
RETURNING started_at

-- name: forget_replicas
-- Rows that another replica deletes now are skipped.
DELETE FROM replicas WHERE id = ANY (ARRAY(
  SELECT id FROM replicas WHERE seen_at <= :before FOR UPDATE SKIP LOCKED
))

-- name: replicas
SELECT {clock} AS now, {replica} FROM replicas ORDER BY started_at, id

-- name: leave_replica
DELETE FROM replicas WHERE id = :id
