-- name: register_worker
INSERT INTO workers AS w
  (id, project_id, implementation_kind, worker_key, created_at, updated_at,
   display_name, implementation_display_name, metadata, last_heartbeat_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (project_id, implementation_kind, worker_key) DO UPDATE SET
  updated_at = excluded.updated_at,
  last_heartbeat_at = excluded.last_heartbeat_at,
  silent_at = NULL,
  display_name = coalesce(excluded.display_name, w.display_name),
  implementation_display_name = coalesce(excluded.implementation_display_name, w.implementation_display_name),
  metadata = coalesce(excluded.metadata, w.metadata)
RETURNING {worker}

-- name: add_token
INSERT INTO worker_tokens (hash, worker_id, number)
VALUES ($1, $2, (SELECT coalesce(max(number), 0) + 1 FROM worker_tokens WHERE worker_id = $2))

-- name: drop_tokens
DELETE FROM worker_tokens WHERE worker_id = $1
  AND number <= (SELECT max(number) FROM worker_tokens WHERE worker_id = $1) - $2::bigint

-- name: worker_by_token
SELECT {worker} FROM workers WHERE id = (SELECT worker_id FROM worker_tokens WHERE hash = $1)

-- name: worker
SELECT {worker} FROM workers WHERE id = $1

-- name: worker_heartbeat
UPDATE workers SET last_heartbeat_at = $1, updated_at = $1, silent_at = NULL WHERE id = $2
RETURNING {worker}

-- name: workers_heard
UPDATE workers SET last_heartbeat_at = $1, updated_at = $1, silent_at = NULL
WHERE id = ANY (ARRAY(SELECT id FROM workers WHERE id = ANY ($2::text[]) ORDER BY id FOR NO KEY UPDATE))

-- name: workers_fell_silent
UPDATE workers SET silent_at = $1 WHERE id = ANY (ARRAY(
  SELECT id FROM workers WHERE silent_at IS NULL AND last_heartbeat_at < $2
  ORDER BY last_heartbeat_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
))
RETURNING {worker}

-- name: workers_page
SELECT {worker} FROM workers WHERE project_id = $1 AND (implementation_kind, worker_key) > ($2::text, $3::text)
  AND ($5::boolean IS NULL OR (silent_at IS NOT NULL) = $5)
ORDER BY implementation_kind, worker_key LIMIT $4

-- name: put_session
INSERT INTO worker_sessions AS s
  (run_seq, worker_id, id, run_id, implementation_kind, session_key, status,
   created_at, updated_at, metadata, ended_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (run_seq, worker_id) DO UPDATE SET
  session_key = excluded.session_key, status = excluded.status, updated_at = excluded.updated_at,
  metadata = coalesce(excluded.metadata, s.metadata),
  ended_at = CASE excluded.status WHEN 'active' THEN NULL ELSE coalesce(s.ended_at, excluded.ended_at) END
RETURNING {session}

-- name: session
SELECT {session} FROM worker_sessions WHERE run_seq = $1 ORDER BY updated_at DESC LIMIT 1

-- name: held
-- A lease is a deadline: whatever is held stands in the index of deadlines, and needs none of its own.
SELECT lease_owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
FROM (
  SELECT seq, lease_owner, run_id, title, target, status, attempt, attempt_started_at, lease_expires_at
  FROM runs WHERE project_id = $1 AND due_at IS NOT NULL AND seq > 0 ORDER BY due_at, seq LIMIT $3
) AS soonest
WHERE lease_expires_at IS NOT NULL AND lease_owner = ANY ($2::text[])
ORDER BY attempt_started_at, seq
