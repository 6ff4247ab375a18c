-- name: add_browser_session
INSERT INTO browser_sessions ({browser_session}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: trim_browser_sessions
DELETE FROM browser_sessions WHERE seq IN (
  SELECT seq FROM browser_sessions WHERE identity = ? ORDER BY seq DESC LIMIT -1 OFFSET ?
)

-- name: browser_session_by_hash
SELECT {browser_session} FROM browser_sessions WHERE hash = ? AND expires_at > ?

-- name: browser_sessions_of
SELECT {browser_session} FROM browser_sessions WHERE identity = ? AND expires_at > ? ORDER BY seq DESC

-- name: touch_browser_session
UPDATE browser_sessions SET last_seen_at = ? WHERE id = ?

-- name: remove_browser_session
DELETE FROM browser_sessions WHERE id = ? AND identity = ?

-- name: remove_browser_sessions
DELETE FROM browser_sessions WHERE identity = ?

-- name: prune_browser_sessions
DELETE FROM browser_sessions WHERE seq IN (
  SELECT seq FROM browser_sessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
)
