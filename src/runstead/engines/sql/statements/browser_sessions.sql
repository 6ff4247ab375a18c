-- name: add_browser_session
INSERT INTO browser_sessions ({browser_session}) VALUES ({:browser_session})

-- name: trim_browser_sessions
-- postgres
DELETE FROM browser_sessions WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM browser_sessions WHERE identity = :identity ORDER BY seq DESC OFFSET :kept
))
-- sqlite
DELETE FROM browser_sessions WHERE seq IN (
  SELECT seq FROM browser_sessions WHERE identity = :identity ORDER BY seq DESC LIMIT -1 OFFSET :kept
)

-- name: browser_session_by_hash
SELECT {clock} AS now, {browser_session} FROM browser_sessions WHERE hash = :hash

-- name: browser_sessions_of
SELECT {clock} AS now, {browser_session} FROM browser_sessions WHERE identity = :identity ORDER BY seq DESC

-- name: touch_browser_sessions
UPDATE browser_sessions SET last_seen_at = :now WHERE id = ANY (:ids::text[])

-- name: remove_browser_session | remove_browser_sessions
DELETE FROM browser_sessions WHERE {id = :id AND|} identity = :identity RETURNING {browser_session}

-- name: prune_browser_sessions
DELETE FROM browser_sessions WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM browser_sessions WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
))
