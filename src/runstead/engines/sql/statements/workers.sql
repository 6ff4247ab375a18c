-- name: register_worker
INSERT INTO workers AS w ({worker}) VALUES ({:worker})
ON CONFLICT (project_id, implementation_kind, worker_key) DO UPDATE SET
  updated_at = excluded.updated_at,
  last_heartbeat_at = excluded.last_heartbeat_at,
  silent_at = NULL,
  display_name = coalesce(excluded.display_name, w.display_name),
  implementation_display_name = coalesce(excluded.implementation_display_name, w.implementation_display_name),
  metadata = coalesce(excluded.metadata, w.metadata),
  version = excluded.version
RETURNING {worker}

-- name: add_worker_token
INSERT INTO worker_tokens (hash, worker_id, number, issuer, expires_at)
VALUES (
  :hash, :worker_id, (SELECT coalesce(max(number), 0) + 1 FROM worker_tokens WHERE worker_id = :worker_id),
  :issuer, :expires_at
)

-- name: extend_worker_tokens
-- An expired token stays expired.
UPDATE worker_tokens SET expires_at = :until
WHERE worker_id = ANY (:ids::text[]) AND issuer IS NOT NULL AND expires_at > :now AND expires_at < :early

-- name: drop_worker_tokens
DELETE FROM worker_tokens WHERE worker_id = :worker_id
  AND number <= (SELECT max(number) FROM worker_tokens WHERE worker_id = :worker_id) - :kept::bigint

-- name: worker_by_token
-- postgres
SELECT {worker}, token.issuer, token.expires_at FROM worker_tokens AS token
CROSS JOIN LATERAL (SELECT * FROM workers WHERE id = ANY (ARRAY[token.worker_id]) ORDER BY id LIMIT 1) AS worker
WHERE token.hash = :hash
-- sqlite
SELECT {worker}, issuer, expires_at FROM worker_tokens JOIN workers ON id = worker_id WHERE hash = :hash

-- name: worker | lock_worker
SELECT {worker} FROM workers WHERE id = :id{| FOR UPDATE}

-- name: remove_worker
DELETE FROM workers WHERE id = :id

-- name: remove_worker_tokens
DELETE FROM worker_tokens WHERE worker_id = :worker_id

-- name: worker_heartbeat
UPDATE workers SET last_heartbeat_at = :now, updated_at = :now, silent_at = NULL WHERE id = :id
RETURNING {worker}

-- name: workers_heard
-- Locked in one order, so that two transactions do not wait for each other.
UPDATE workers SET last_heartbeat_at = :now, updated_at = :now, silent_at = NULL
WHERE id = ANY (ARRAY(SELECT id FROM workers WHERE id = ANY (:ids::text[]) ORDER BY id FOR NO KEY UPDATE))

-- name: workers_fell_silent
UPDATE workers SET silent_at = :now WHERE id = ANY (ARRAY(
  SELECT id FROM workers WHERE silent_at IS NULL AND last_heartbeat_at < :before
  ORDER BY last_heartbeat_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
))
RETURNING {worker}

-- name: workers_page
SELECT {worker} FROM workers
WHERE project_id = :project_id AND (implementation_kind, worker_key) > (:after_kind::text, :after_key::text)
  AND (:silent::boolean IS NULL OR (silent_at IS NOT NULL) = :silent)
ORDER BY implementation_kind, worker_key LIMIT :limit

-- name: worker_versions
SELECT version, count(*) FILTER (WHERE silent_at IS NULL) AS workers_online FROM workers
WHERE project_id = :project_id GROUP BY version HAVING count(*) FILTER (WHERE silent_at IS NULL) > 0

-- name: run_versions
SELECT worker_version AS version, count(*) FILTER (WHERE status = 'pending') AS runs_pending,
  count(*) FILTER (WHERE status = 'running') AS runs_running,
  count(*) FILTER (WHERE status = 'waiting') AS runs_waiting, count(*) FILTER (WHERE pinned) AS pinned
FROM runs {INDEXED BY runs_by_version}
WHERE project_id = :project_id AND worker_version IS NOT NULL AND completed_at IS NULL
GROUP BY worker_version

-- name: put_session
INSERT INTO worker_sessions AS s (run_seq, {session}) VALUES (:run_seq, {:session})
ON CONFLICT (run_seq, worker_id) DO UPDATE SET
  session_key = excluded.session_key, status = excluded.status, updated_at = excluded.updated_at,
  metadata = coalesce(excluded.metadata, s.metadata),
  ended_at = CASE excluded.status WHEN 'active' THEN NULL ELSE coalesce(s.ended_at, excluded.ended_at) END
RETURNING {session}

-- name: session
SELECT {session} FROM worker_sessions WHERE run_seq = :run_seq ORDER BY updated_at DESC LIMIT 1

-- name: held
-- A lease is a deadline: each leased run is in the index of deadlines, and needs no index of its own.
-- postgres
SELECT lease_owner AS owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
FROM (
  SELECT seq, lease_owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
  FROM runs WHERE project_id = :project_id AND due_at IS NOT NULL AND seq > 0 ORDER BY due_at, seq LIMIT :looked_max
) AS soonest
WHERE lease_expires_at IS NOT NULL AND lease_owner = ANY (:owners::text[])
ORDER BY attempt_started_at, seq
-- sqlite
SELECT lease_owner AS owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
FROM (
  SELECT seq, lease_owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
  FROM runs WHERE project_id = :project_id AND due_at IS NOT NULL ORDER BY due_at, seq LIMIT :looked_max
)
WHERE lease_expires_at IS NOT NULL AND lease_owner IN (SELECT value FROM json_each(:owners))
ORDER BY attempt_started_at, seq
