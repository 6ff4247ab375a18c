-- name: add_browser_session
INSERT INTO browser_sessions ({browser_session}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: trim_browser_sessions
DELETE FROM browser_sessions WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM browser_sessions WHERE identity = $1 ORDER BY seq DESC OFFSET $2
))

-- name: browser_session_by_hash
SELECT {clock}, {browser_session} FROM browser_sessions WHERE hash = $1

-- name: browser_sessions_of
SELECT {clock}, {browser_session} FROM browser_sessions WHERE identity = $1 ORDER BY seq DESC

-- name: touch_browser_sessions
UPDATE browser_sessions SET last_seen_at = $2 WHERE id = ANY ($1::text[])

-- name: remove_browser_session
DELETE FROM browser_sessions WHERE id = $1 AND identity = $2 RETURNING true

-- name: remove_browser_sessions
WITH gone AS (DELETE FROM browser_sessions WHERE identity = $1 RETURNING 1) SELECT count(*) FROM gone

-- name: prune_browser_sessions
WITH gone AS (
  DELETE FROM browser_sessions WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM browser_sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
    FOR UPDATE SKIP LOCKED
  )) RETURNING 1
) SELECT count(*) FROM gone
