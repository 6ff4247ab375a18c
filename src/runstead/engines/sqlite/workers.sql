-- name: register_worker
INSERT INTO workers
  (id, project_id, implementation_kind, worker_key, created_at, updated_at,
   display_name, implementation_display_name, metadata, last_heartbeat_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (project_id, implementation_kind, worker_key) DO UPDATE SET
  updated_at = excluded.updated_at,
  last_heartbeat_at = excluded.last_heartbeat_at,
  silent_at = NULL,
  display_name = coalesce(excluded.display_name, display_name),
  implementation_display_name = coalesce(excluded.implementation_display_name, implementation_display_name),
  metadata = coalesce(excluded.metadata, metadata)
RETURNING {worker}

-- name: add_token
INSERT INTO worker_tokens (hash, worker_id, number)
VALUES (?1, ?2, (SELECT coalesce(max(number), 0) + 1 FROM worker_tokens WHERE worker_id = ?2))

-- name: drop_tokens
DELETE FROM worker_tokens WHERE worker_id = ?1
  AND number <= (SELECT max(number) FROM worker_tokens WHERE worker_id = ?1) - ?2

-- name: worker_by_token
SELECT {worker} FROM workers WHERE id = (SELECT worker_id FROM worker_tokens WHERE hash = ?)

-- name: worker
SELECT {worker} FROM workers WHERE id = ?

-- name: worker_heartbeat
UPDATE workers SET last_heartbeat_at = ?1, updated_at = ?1, silent_at = NULL WHERE id = ?2
RETURNING {worker}

-- name: worker_heard
UPDATE workers SET last_heartbeat_at = ?1, updated_at = ?1, silent_at = NULL WHERE id = ?2

-- name: workers_fell_silent
UPDATE workers SET silent_at = ?1 WHERE id IN
  (SELECT id FROM workers WHERE silent_at IS NULL AND last_heartbeat_at < ?2 ORDER BY last_heartbeat_at LIMIT ?3)
RETURNING {worker}

-- name: workers_page
SELECT {worker} FROM workers WHERE project_id = ?1 AND (implementation_kind, worker_key) > (?2, ?3)
  AND (?5 IS NULL OR (silent_at IS NOT NULL) = ?5)
ORDER BY implementation_kind, worker_key LIMIT ?4

-- name: put_session
INSERT INTO worker_sessions
  (run_seq, worker_id, id, run_id, implementation_kind, session_key, status,
   created_at, updated_at, metadata, ended_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_seq, worker_id) DO UPDATE SET
  session_key = excluded.session_key, status = excluded.status, updated_at = excluded.updated_at,
  metadata = coalesce(excluded.metadata, metadata),
  ended_at = CASE excluded.status WHEN 'active' THEN NULL ELSE coalesce(ended_at, excluded.ended_at) END
RETURNING {session}

-- name: session
SELECT {session} FROM worker_sessions WHERE run_seq = ? ORDER BY updated_at DESC LIMIT 1

-- name: held
-- A lease is a deadline: whatever is held stands in the index of deadlines, and needs none of its own. ?2 a JSON array.
SELECT lease_owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
FROM (
  SELECT seq, lease_owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
  FROM runs WHERE project_id = ?1 AND due_at IS NOT NULL ORDER BY due_at, seq LIMIT ?3
)
WHERE lease_expires_at IS NOT NULL AND lease_owner IN (SELECT value FROM json_each(?2))
ORDER BY attempt_started_at, seq
