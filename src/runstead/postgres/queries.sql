-- Named queries; {columns} are the columns of a run in the order of its fields, {runs} where they come from, {clock}
-- the time in ms.

-- name: moment
SELECT {clock}, pg_current_xact_id()::text

-- name: load
-- Locks every run that is named, and the whole line above a parent, lowest first: the one order that all take. The time
-- is read after each lock, the last one counts. A number for every run that is not there yet comes along.
WITH named AS MATERIALIZED (
  SELECT r.seq, r.path, k.parent
  FROM unnest($1::text[], $2::text[], $3::boolean[]) AS k (run_id, project_id, parent)
  JOIN runs AS r ON r.run_id = k.run_id AND r.project_id = k.project_id
), line AS MATERIALIZED (
  SELECT seq FROM named
  UNION
  SELECT step::bigint FROM named, unnest(string_to_array(trim(BOTH '/' FROM path), '/')) AS step
  WHERE parent AND path <> '/'
)
SELECT {clock}, pg_current_xact_id()::text, fresh.seqs, locked.*
FROM (
  SELECT ARRAY(SELECT nextval('run_seq') FROM generate_series(1, cardinality($1) - (SELECT count(*) FROM named)))
) AS fresh (seqs)
LEFT JOIN LATERAL (
  SELECT {columns} FROM {runs} WHERE seq = ANY (ARRAY(SELECT seq FROM line)) ORDER BY seq FOR UPDATE OF runs
) AS locked ON true

-- name: run_by_key
SELECT {columns} FROM {runs} WHERE run_id = $1 AND project_id = $2

-- name: runs_by_id
SELECT {columns} FROM {runs} WHERE run_id = $1 AND project_id = ANY ($2::text[]) LIMIT 2

-- name: children
SELECT {columns} FROM {runs} WHERE parent_seq = $1 ORDER BY seq LIMIT $2

-- name: family
SELECT {columns} FROM {runs} WHERE seq = $1
UNION ALL
SELECT * FROM (
  SELECT {columns} FROM {runs} WHERE root_seq = $1 AND parent_seq IS NOT NULL ORDER BY seq LIMIT $2 - 1
) AS below

-- name: any_descendant_alive
SELECT 1 FROM runs
WHERE root_seq = $1 AND parent_seq IS NOT NULL AND status IN ('pending', 'running', 'waiting')
  AND strpos(path, $2) > 0
LIMIT 1

-- name: descendants_alive
SELECT {columns} FROM {runs}
WHERE root_seq = $1 AND parent_seq IS NOT NULL AND status IN ('pending', 'running', 'waiting')
  AND strpos(path, $2) > 0
ORDER BY seq FOR UPDATE OF runs

-- name: count_families
INSERT INTO run_families AS f (run_seq, descendants_total, descendants_active)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS moved (run_seq, total, active) ORDER BY run_seq
ON CONFLICT (run_seq) DO UPDATE SET
  descendants_total = f.descendants_total + excluded.descendants_total,
  descendants_active = f.descendants_active + excluded.descendants_active

-- name: due
SELECT {columns} FROM {runs} WHERE due_at <= $1 ORDER BY due_at LIMIT $2 FOR UPDATE OF runs SKIP LOCKED

-- name: events_after
-- The run's creation tells the partition. Sizes are known without reading the payloads.
SELECT event_id, type, payload, created_at, flags, sequence
FROM (
  SELECT *, row_number() OVER told AS place, sum(octet_length(payload)) OVER told AS bytes
  FROM (
    SELECT * FROM run_events
    WHERE run_created_at = (SELECT created_at FROM runs WHERE seq = $1) AND run_seq = $1 AND event_id > $2
      AND flags & 2 = 0 AND ($4::text[] IS NULL OR type = ANY ($4))
    ORDER BY event_id LIMIT $3
  ) AS page
  WINDOW told AS (ORDER BY event_id)
) AS measured
WHERE place = 1 OR bytes <= $5 ORDER BY event_id

-- name: tail
SELECT event_id, type, payload, created_at, flags, sequence FROM run_events
WHERE run_created_at = $1 AND run_seq = $2 AND event_id > $3 ORDER BY event_id LIMIT $4

-- name: add_events
INSERT INTO run_events (run_created_at, run_seq, created_at, event_id, sequence, flags, type, payload)
SELECT * FROM unnest(
  $1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::integer[], $6::smallint[], $7::text[], $8::bytea[]
)

-- name: attempts
SELECT attempt, lease_owner, started_at, ended_at, outcome, error FROM run_attempts WHERE run_seq = $1 ORDER BY attempt

-- name: add_attempts
INSERT INTO run_attempts (run_seq, attempt, lease_owner, started_at, ended_at, outcome, error)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[])

-- name: receipt
SELECT key, digest FROM run_receipts WHERE run_seq = $1 AND key = $2

-- name: add_receipts
INSERT INTO run_receipts (run_seq, key, digest) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])

-- name: lock_conversations
SELECT id, message_count FROM conversations WHERE id = ANY ($1::text[]) ORDER BY id FOR UPDATE

-- name: count_messages
UPDATE conversations AS c SET message_count = moved.count, last_message_at = moved.at, updated_at = moved.at
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS moved (id, count, at) WHERE c.id = moved.id

-- name: add_messages
INSERT INTO messages (conversation_id, seq, id, run_seq, created_by, created_at)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])

-- name: seals
SELECT s.owner, s.key, s.digest, s.status, s.body
FROM unnest($1::text[], $2::text[]) AS k (owner, key) JOIN seals AS s ON s.owner = k.owner AND s.key = k.key

-- name: add_seals
INSERT INTO seals (owner, key, digest, status, body, created_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bytea[], $6::bigint[])
  AS made (owner, key, digest, status, body, created_at)
ORDER BY owner COLLATE "C", key COLLATE "C"

-- name: forget_seals
WITH old AS (SELECT owner, key FROM seals WHERE created_at < $1 ORDER BY created_at LIMIT 10000 FOR UPDATE SKIP LOCKED),
gone AS (DELETE FROM seals AS s USING old WHERE s.owner = old.owner AND s.key = old.key RETURNING 1)
SELECT count(*) FROM gone

-- name: pulse
UPDATE pulse SET at = $1

-- name: lock_project
SELECT 1 FROM projects WHERE id = $1 FOR NO KEY UPDATE

-- name: add_project
INSERT INTO projects (id, slug, name, created_at, created_by, personal_of) VALUES ($1, $2, $3, $4, $5, $6)

-- name: project
SELECT id, slug, name, created_at, created_by, personal_of FROM projects WHERE id = $1
UNION ALL SELECT id, slug, name, created_at, created_by, personal_of FROM projects WHERE slug = $1 AND id <> $1

-- name: project_by_slug
SELECT id, slug, name, created_at, created_by, personal_of FROM projects WHERE slug = $1

-- name: projects
SELECT id, slug, name, created_at, created_by, personal_of FROM projects
WHERE $1::text[] IS NULL OR id = ANY ($1) ORDER BY created_at, id

-- name: any_project
SELECT 1 FROM projects LIMIT 1

-- name: add_key
INSERT INTO api_keys
  (id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- name: key_by_hash
SELECT id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at
FROM api_keys WHERE hash = $1

-- name: keys
SELECT id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at
FROM api_keys WHERE project_id = $1 ORDER BY created_at, id

-- name: revoke_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, $1) WHERE project_id = $2 AND id = $3
RETURNING id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at

-- name: touch_keys
WITH used AS MATERIALIZED (
  SELECT k.id, t.at FROM unnest($1::text[], $2::bigint[]) AS t (id, at) JOIN api_keys AS k ON k.id = t.id
  ORDER BY k.id FOR UPDATE OF k
)
UPDATE api_keys AS k SET last_used_at = greatest(coalesce(k.last_used_at, 0), used.at) FROM used WHERE k.id = used.id

-- name: put_member
INSERT INTO members (project_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role
RETURNING project_id, user_id, role, created_at

-- name: keep_member
INSERT INTO members (project_id, user_id, role, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING

-- name: remove_member
DELETE FROM members WHERE project_id = $1 AND user_id = $2 RETURNING 1

-- name: members
SELECT project_id, user_id, role, created_at FROM members WHERE project_id = $1 ORDER BY created_at, user_id

-- name: roles
SELECT project_id, role FROM members WHERE user_id = $1

-- name: register_worker
INSERT INTO workers AS w
  (id, project_id, implementation_kind, worker_key, created_at, updated_at,
   display_name, implementation_display_name, metadata, last_heartbeat_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (project_id, implementation_kind, worker_key) DO UPDATE SET
  updated_at = excluded.updated_at,
  last_heartbeat_at = excluded.last_heartbeat_at,
  display_name = coalesce(excluded.display_name, w.display_name),
  implementation_display_name = coalesce(excluded.implementation_display_name, w.implementation_display_name),
  metadata = coalesce(excluded.metadata, w.metadata)
RETURNING id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at

-- name: add_token
INSERT INTO worker_tokens (hash, worker_id, number)
VALUES ($1, $2, (SELECT coalesce(max(number), 0) + 1 FROM worker_tokens WHERE worker_id = $2))

-- name: drop_tokens
DELETE FROM worker_tokens WHERE worker_id = $1
  AND number <= (SELECT max(number) FROM worker_tokens WHERE worker_id = $1) - $2::bigint

-- name: worker_by_token
SELECT id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at
FROM workers WHERE id = (SELECT worker_id FROM worker_tokens WHERE hash = $1)

-- name: worker
SELECT id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at
FROM workers WHERE id = $1

-- name: worker_heartbeat
UPDATE workers SET last_heartbeat_at = $1, updated_at = $1 WHERE id = $2
RETURNING id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at

-- name: put_session
INSERT INTO worker_sessions AS s
  (run_seq, worker_id, id, run_id, implementation_kind, session_key, status,
   created_at, updated_at, metadata, ended_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (run_seq, worker_id) DO UPDATE SET
  session_key = excluded.session_key, status = excluded.status, updated_at = excluded.updated_at,
  metadata = coalesce(excluded.metadata, s.metadata),
  ended_at = CASE excluded.status WHEN 'active' THEN NULL ELSE coalesce(s.ended_at, excluded.ended_at) END
RETURNING id, run_id, implementation_kind, worker_id, session_key, status, created_at, updated_at, metadata, ended_at

-- name: session
SELECT id, run_id, implementation_kind, worker_id, session_key, status, created_at, updated_at, metadata, ended_at
FROM worker_sessions WHERE run_seq = $1 ORDER BY updated_at DESC LIMIT 1

-- name: add_conversation
INSERT INTO conversations
  (id, project_id, type, created_at, updated_at, personal, status, title, summary, metadata, agent_id,
   message_count, last_message_at, created_by, archived_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)

-- name: conversation
SELECT id, project_id, type, created_at, updated_at, personal, status, title, summary, metadata, agent_id,
  message_count, last_message_at, created_by, archived_at
FROM conversations WHERE id = $1
