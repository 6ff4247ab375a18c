-- Named queries; {columns} are the columns of a run in the order of its fields.

-- name: run_by_key
SELECT {columns} FROM runs WHERE run_id = ? AND project_id = ?

-- name: run_by_seq
SELECT {columns} FROM runs WHERE seq = ?

-- name: runs_by_id
SELECT {columns} FROM runs WHERE run_id = ? AND project_id IN (SELECT value FROM json_each(?)) LIMIT 2

-- name: children
SELECT {columns} FROM runs WHERE parent_seq = ?1 AND seq > ?3 AND (?4 IS NULL OR kind = ?4) ORDER BY seq LIMIT ?2

-- name: family
SELECT {columns} FROM runs WHERE seq = ?1
UNION ALL
SELECT * FROM (SELECT {columns} FROM runs WHERE root_seq = ?1 AND parent_seq IS NOT NULL ORDER BY seq LIMIT ?2 - 1)

-- name: runs_of_schedule_alive
SELECT {columns} FROM runs
WHERE schedule_id = ? AND schedule_id IS NOT NULL AND status IN ('pending', 'running', 'waiting')
ORDER BY seq LIMIT ?

-- name: descendants_alive
SELECT {columns} FROM runs
WHERE root_seq = ? AND parent_seq IS NOT NULL AND status IN ('pending', 'running', 'waiting') AND instr(path, ?) > 0
ORDER BY seq

-- name: cancelled_among
SELECT 1 FROM runs WHERE seq IN (SELECT value FROM json_each(?)) AND status = 'cancelled' LIMIT 1

-- name: count_family
UPDATE runs SET descendants_total = descendants_total + ?, descendants_active = descendants_active + ?
WHERE seq IN (SELECT value FROM json_each(?))

-- name: due_projects
-- Those in which a deadline has passed: one look into the index from a project to the next.
WITH RECURSIVE projects (name) AS (
  SELECT min(project_id) FROM runs INDEXED BY runs_due WHERE due_at IS NOT NULL
  UNION ALL
  SELECT (SELECT min(project_id) FROM runs INDEXED BY runs_due WHERE due_at IS NOT NULL AND project_id > name)
  FROM projects WHERE name IS NOT NULL
)
SELECT name FROM projects
WHERE (SELECT min(due_at) FROM runs INDEXED BY runs_due WHERE due_at IS NOT NULL AND project_id = name) <= ?1

-- name: due_head
SELECT due_at, seq FROM runs INDEXED BY runs_due WHERE project_id = ? AND due_at <= ? ORDER BY due_at, seq LIMIT ?

-- name: queued_targets
-- '' stands for none. One look into the index for each.
WITH RECURSIVE found (name) AS (
  SELECT min(coalesce(target, '')) FROM runs INDEXED BY runs_queue_target
  WHERE project_id = ?1 AND available_at IS NOT NULL
  UNION ALL
  SELECT (
    SELECT min(coalesce(target, '')) FROM runs INDEXED BY runs_queue_target
    WHERE project_id = ?1 AND available_at IS NOT NULL AND coalesce(target, '') > found.name
  )
  FROM found WHERE name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL

-- name: push_steps
-- What is queued for push services apart by (project, service, target, priority), where something of it is due.
WITH RECURSIVE projects (p) AS (
  SELECT min(project_id) FROM runs INDEXED BY runs_push WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL
  UNION ALL
  SELECT (
    SELECT min(project_id) FROM runs INDEXED BY runs_push
    WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL AND project_id > p
  )
  FROM projects WHERE p IS NOT NULL
), services (p, s) AS (
  SELECT p, (
    SELECT min(push_service_id) FROM runs INDEXED BY runs_push
    WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL AND project_id = p
  )
  FROM projects WHERE p IS NOT NULL
  UNION ALL
  SELECT p, (
    SELECT min(push_service_id) FROM runs INDEXED BY runs_push
    WHERE push_service_id > s AND available_at IS NOT NULL AND project_id = p
  )
  FROM services WHERE s IS NOT NULL
), targets (p, s, t) AS (
  SELECT p, s, (
    SELECT min(coalesce(target, '')) FROM runs INDEXED BY runs_push
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p
  )
  FROM services WHERE s IS NOT NULL AND s NOT IN (SELECT value FROM json_each(?2))
  UNION ALL
  SELECT p, s, (
    SELECT min(coalesce(target, '')) FROM runs INDEXED BY runs_push
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') > t
  )
  FROM targets WHERE t IS NOT NULL
), steps (p, s, t, step) AS (
  SELECT p, s, t, (
    SELECT max(priority) FROM runs INDEXED BY runs_push
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') = t
  )
  FROM targets WHERE t IS NOT NULL
  UNION ALL
  SELECT p, s, t, (
    SELECT max(priority) FROM runs INDEXED BY runs_push
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') = t
      AND priority < step
  )
  FROM steps WHERE step IS NOT NULL
)
SELECT p, s, t, step FROM steps
WHERE step IS NOT NULL AND (
  SELECT min(available_at) FROM runs INDEXED BY runs_push
  WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') = t
    AND priority = step
) <= ?1

-- name: batch_alive
SELECT seq FROM runs INDEXED BY runs_by_batch
WHERE batch_id = ? AND project_id = ? AND status IN ('pending', 'running', 'waiting') ORDER BY seq LIMIT ?

-- name: push_head
SELECT {columns} FROM runs INDEXED BY runs_push
WHERE project_id = ? AND push_service_id = ? AND coalesce(target, '') = ? AND priority = ? AND available_at <= ?
ORDER BY available_at, seq LIMIT ?

-- name: occupancies
SELECT l.target, l.max_running, CASE l.target
  WHEN '' THEN (
    SELECT count(*) FROM (
      SELECT 1 FROM runs INDEXED BY runs_running
      WHERE project_id = ?1 AND status = 'running' AND available_at IS NULL LIMIT ?2
    )
  )
  ELSE (
    SELECT count(*) FROM (
      SELECT 1 FROM runs AS r INDEXED BY runs_running
      WHERE r.project_id = ?1 AND r.status = 'running' AND r.available_at IS NULL
        AND coalesce(r.target, '') = l.target
      LIMIT ?2
    )
  )
END
FROM concurrency_limits AS l WHERE l.project_id = ?1 ORDER BY l.target

-- name: drop_concurrency_limits
DELETE FROM concurrency_limits WHERE project_id = ?

-- name: add_concurrency_limit
INSERT INTO concurrency_limits (project_id, target, max_running) VALUES (?, ?, ?)

-- name: cancelled_pushes
SELECT {columns} FROM runs INDEXED BY runs_push_cancelled
WHERE push_service_id IS NOT NULL AND cancel_requested_at IS NOT NULL AND cancel_stopped_at IS NULL
  AND push_service_id NOT IN (SELECT value FROM json_each(?1))
ORDER BY cancel_requested_at, seq LIMIT ?2

-- name: events_between
SELECT id & 16777215, type, payload, created_at, flags, sequence FROM run_events
WHERE id > ? AND id <= ? AND flags & ? = 0 ORDER BY id LIMIT ?

-- name: attempts
SELECT attempt, lease_owner, started_at, ended_at, outcome, error FROM run_attempts WHERE run_seq = ? ORDER BY attempt

-- name: add_attempt
INSERT INTO run_attempts (run_seq, attempt, lease_owner, started_at, ended_at, outcome, error)
VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: receipt
SELECT key, digest FROM run_receipts WHERE run_seq = ? AND key = ?

-- name: add_receipt
INSERT INTO run_receipts (run_seq, key, digest) VALUES (?, ?, ?)

-- name: next_message
UPDATE conversations
SET message_count = message_count + 1, last_message_at = ?1, updated_at = max(updated_at, ?1), current_node = ?3
WHERE id = ?2 AND status <> 'deleted' RETURNING message_count

-- name: add_message
INSERT INTO messages
  (id, conversation_id, role, created_at, updated_at, seq, run_seq, parent_id, created_by, idempotency_key, digest,
   metadata, parts, outcome)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: seal
SELECT digest, status, body FROM seals WHERE owner = ? AND key = ?

-- name: add_seal
INSERT INTO seals (owner, key, digest, status, body, created_at) VALUES (?, ?, ?, ?, ?, ?)

-- name: forget_seals
DELETE FROM seals WHERE rowid IN (SELECT rowid FROM seals WHERE created_at < ? LIMIT ?)

-- name: add_project
INSERT INTO projects (id, slug, name, created_at, created_by, personal_of) VALUES (?, ?, ?, ?, ?, ?)

-- name: project
SELECT id, slug, name, created_at, created_by, personal_of FROM projects WHERE id = ?1
UNION ALL SELECT id, slug, name, created_at, created_by, personal_of FROM projects WHERE slug = ?1 AND id <> ?1

-- name: project_by_slug
SELECT id, slug, name, created_at, created_by, personal_of FROM projects WHERE slug = ?

-- name: projects
SELECT id, slug, name, created_at, created_by, personal_of FROM projects
WHERE ?1 IS NULL OR id IN (SELECT value FROM json_each(?1)) ORDER BY created_at, id

-- name: any_project
SELECT 1 FROM projects LIMIT 1

-- name: add_key
INSERT INTO api_keys
  (id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: key_by_hash
SELECT id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at
FROM api_keys WHERE hash = ?

-- name: keys
SELECT id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at
FROM api_keys WHERE project_id = ? ORDER BY created_at, id

-- name: revoke_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE project_id = ? AND id = ?
RETURNING id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at

-- name: touch_key
UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?

-- name: put_member
INSERT INTO members (project_id, user_id, role, created_at) VALUES (?, ?, ?, ?)
ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role
RETURNING project_id, user_id, role, created_at

-- name: keep_member
INSERT INTO members (project_id, user_id, role, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: remove_member
DELETE FROM members WHERE project_id = ? AND user_id = ?

-- name: members
SELECT project_id, user_id, role, created_at FROM members WHERE project_id = ? ORDER BY created_at, user_id

-- name: roles
SELECT project_id, role FROM members WHERE user_id = ?

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
RETURNING id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at, silent_at

-- name: add_token
INSERT INTO worker_tokens (hash, worker_id, number)
VALUES (?1, ?2, (SELECT coalesce(max(number), 0) + 1 FROM worker_tokens WHERE worker_id = ?2))

-- name: drop_tokens
DELETE FROM worker_tokens WHERE worker_id = ?1
  AND number <= (SELECT max(number) FROM worker_tokens WHERE worker_id = ?1) - ?2

-- name: worker_by_token
SELECT id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at, silent_at
FROM workers WHERE id = (SELECT worker_id FROM worker_tokens WHERE hash = ?)

-- name: worker
SELECT id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at, silent_at
FROM workers WHERE id = ?

-- name: worker_heartbeat
UPDATE workers SET last_heartbeat_at = ?1, updated_at = ?1, silent_at = NULL WHERE id = ?2
RETURNING id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at, silent_at

-- name: worker_heard
UPDATE workers SET last_heartbeat_at = ?1, updated_at = ?1, silent_at = NULL WHERE id = ?2

-- name: workers_fell_silent
UPDATE workers SET silent_at = ?1 WHERE id IN
  (SELECT id FROM workers WHERE silent_at IS NULL AND last_heartbeat_at < ?2 ORDER BY last_heartbeat_at LIMIT ?3)
RETURNING id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at, silent_at

-- name: workers_page
SELECT id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at, silent_at
FROM workers WHERE project_id = ?1 AND (implementation_kind, worker_key) > (?2, ?3)
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
RETURNING id, run_id, implementation_kind, worker_id, session_key, status, created_at, updated_at, metadata, ended_at

-- name: session
SELECT id, run_id, implementation_kind, worker_id, session_key, status, created_at, updated_at, metadata, ended_at
FROM worker_sessions WHERE run_seq = ? ORDER BY updated_at DESC LIMIT 1

-- name: add_conversation
INSERT INTO conversations
  (id, project_id, type, created_at, updated_at, personal, status, title, summary, metadata, agent_id,
   message_count, last_message_at, created_by, archived_at, current_node)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: conversation
SELECT id, project_id, type, created_at, updated_at, personal, status, title, summary, metadata, agent_id,
  message_count, last_message_at, created_by, archived_at, current_node, seq
FROM conversations WHERE id = ?

-- name: conversations_page
SELECT id, project_id, type, created_at, updated_at, personal, status, title, summary, metadata, agent_id,
  message_count, last_message_at, created_by, archived_at, current_node, seq
FROM conversations
WHERE project_id = ?1 AND status <> 'deleted' AND (?2 IS NULL OR status = ?2)
  AND seq < ?3
ORDER BY seq DESC LIMIT ?4

-- name: change_conversation
UPDATE conversations SET project_id = ?2, personal = ?3, updated_at = ?4, status = ?5, title = ?6, summary = ?7,
  archived_at = ?8
WHERE id = ?1

-- name: conversation_lives
SELECT 1 FROM conversations WHERE id = ? AND status <> 'deleted'

-- name: runs_of_conversation
SELECT runs.seq, runs.parent_seq, runs.run_id FROM messages JOIN runs ON runs.seq = messages.run_seq
WHERE messages.conversation_id = ?

-- name: children_seqs
SELECT seq FROM runs WHERE parent_seq = ?

-- name: move_run
UPDATE runs SET project_id = ?, version = version + 1 WHERE seq = ?

-- name: message_by_key
SELECT id, conversation_id, role, created_at, updated_at, seq, run_seq, parent_id, created_by, idempotency_key,
  digest, metadata, parts, outcome
FROM messages WHERE conversation_id = ? AND idempotency_key = ?

-- name: parent_message
SELECT id FROM messages WHERE conversation_id = ?1 AND (id = ?2 OR idempotency_key = ?2)
ORDER BY id = ?2 DESC LIMIT 1

-- name: messages_after
SELECT m.id, m.conversation_id, m.role, m.created_at, m.updated_at, m.seq, m.run_seq, m.parent_id, m.created_by,
  m.idempotency_key, m.digest, m.metadata, m.parts, m.outcome, r.seq, r.run_id, r.status, r.latest_event_id, r.updated_at,
  r.metadata
FROM messages m LEFT JOIN runs r ON r.seq = m.run_seq
WHERE m.conversation_id = ? AND m.seq > ? ORDER BY m.seq LIMIT ?

-- name: add_input_request
INSERT INTO input_requests
  (id, conversation_id, run_seq, run_id, tool_call_id, requested_responder_type, title, fields, created_at, salt,
   status, description, metadata, created_by, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: close_input_request
UPDATE input_requests SET status = ?2, ended_at = ?3, response_id = ?4, actor_type = ?5, actor_id = ?6,
  response_values = ?7, withheld = ?8, digest = ?9, responded_at = ?10
WHERE id = ?1 AND status = 'open'

-- name: input_request
SELECT id, conversation_id, run_seq, run_id, tool_call_id, requested_responder_type, title, fields, created_at, salt,
  seq, status, description, metadata, created_by, expires_at, ended_at, response_id, actor_type, actor_id,
  response_values, withheld, digest, responded_at
FROM input_requests WHERE id = ?

-- name: input_request_of_call
SELECT id, conversation_id, run_seq, run_id, tool_call_id, requested_responder_type, title, fields, created_at, salt,
  seq, status, description, metadata, created_by, expires_at, ended_at, response_id, actor_type, actor_id,
  response_values, withheld, digest, responded_at
FROM input_requests WHERE run_seq = ? AND tool_call_id = ?

-- name: input_requests_page
SELECT id, conversation_id, run_seq, run_id, tool_call_id, requested_responder_type, title, fields, created_at, salt,
  seq, status, description, metadata, created_by, expires_at, ended_at, response_id, actor_type, actor_id,
  response_values, withheld, digest, responded_at
FROM input_requests WHERE conversation_id = ?1 AND (?2 IS NULL OR status = ?2) AND seq < ?3
ORDER BY seq DESC LIMIT ?4

-- name: input_requests_of_run
SELECT id, conversation_id, run_seq, run_id, tool_call_id, requested_responder_type, title, fields, created_at, salt,
  seq, status, description, metadata, created_by, expires_at, ended_at, response_id, actor_type, actor_id,
  response_values, withheld, digest, responded_at
FROM input_requests WHERE run_seq = ? ORDER BY seq DESC LIMIT ?

-- name: event
SELECT id & 16777215, type, payload, created_at, flags, sequence FROM run_events WHERE id = ? AND flags & ? = 0

-- name: event_counts
SELECT type, count(*) AS times, min(created_at), max(created_at) FROM run_events
WHERE id > ? AND id <= ? AND flags & ? = 0 GROUP BY type ORDER BY times DESC, type

-- name: event_keys
SELECT key, digest FROM run_event_keys WHERE run_seq = ? AND key IN (SELECT value FROM json_each(?))

-- name: add_event_key
INSERT INTO run_event_keys (run_seq, key, event_id, digest) VALUES (?, ?, ?, ?)

-- name: log_family
INSERT INTO family_log (root_seq, start, run_seq, first, last)
SELECT ?1,
  CASE WHEN l.start IS NULL THEN 1
    WHEN l.run_seq = ?2 AND l.last = ?3 - 1 THEN l.start
    ELSE l.start + l.last - l.first + 1 END,
  ?2, ?3, ?4
FROM (SELECT 1) LEFT JOIN (SELECT * FROM family_log WHERE root_seq = ?1 ORDER BY start DESC LIMIT 1) AS l ON TRUE
WHERE TRUE ON CONFLICT (root_seq, start) DO UPDATE SET last = excluded.last

-- name: family_end
SELECT start + last - first, (SELECT max(last) FROM family_log WHERE root_seq = ?1 AND run_seq = ?1)
FROM family_log WHERE root_seq = ?1 ORDER BY start DESC LIMIT 1

-- name: lone_root
SELECT run_id, latest_event_id FROM runs WHERE seq = ? AND descendants_total = 0

-- name: family_stretches
SELECT l.start, l.run_seq, l.first, l.last, r.run_id, r.path FROM family_log l LEFT JOIN runs r ON r.seq = l.run_seq
WHERE l.root_seq = ?1
  AND l.start >= coalesce((SELECT max(start) FROM family_log WHERE root_seq = ?1 AND start <= ?2 + 1), 0)
ORDER BY l.start

-- name: family_active
SELECT status IN ('completed', 'failed', 'cancelled') AND descendants_active = 0 FROM runs WHERE seq = ?

-- name: usage
SELECT seq, path, status IN ('completed', 'failed', 'cancelled'), metadata IS NOT NULL,
  substr(json_extract(CAST(metadata AS TEXT), '$.provider'), 1, ?3),
  substr(json_extract(CAST(metadata AS TEXT), '$.model'), 1, ?3),
  json_extract(CAST(metadata AS TEXT), '$.inputTokens'),
  json_extract(CAST(metadata AS TEXT), '$.outputTokens'),
  json_extract(CAST(metadata AS TEXT), '$.cachedInputTokens'),
  json_extract(CAST(metadata AS TEXT), '$.reasoningTokens'),
  json_extract(CAST(metadata AS TEXT), '$.usageCaptureStatus')
FROM runs WHERE seq = ?1 OR (root_seq = ?2 AND parent_seq IS NOT NULL)

-- name: run_exists
SELECT 1 FROM runs WHERE seq = ?

-- name: delete_run
DELETE FROM runs WHERE seq = ? AND version = ?

-- name: delete_events
DELETE FROM run_events WHERE id > ? AND id <= ?

-- name: delete_event_keys
DELETE FROM run_event_keys WHERE run_seq = ?

-- name: delete_attempts
DELETE FROM run_attempts WHERE run_seq = ?

-- name: delete_receipts
DELETE FROM run_receipts WHERE run_seq = ?

-- name: delete_sessions
DELETE FROM worker_sessions WHERE run_seq = ?

-- name: delete_input_requests
DELETE FROM input_requests WHERE run_seq = ?

-- name: delete_message
DELETE FROM messages WHERE conversation_id = ? AND run_seq = ? RETURNING id

-- name: orphan_messages
UPDATE messages SET parent_id = NULL WHERE conversation_id = ? AND parent_id = ?

-- name: newest_message_stands
UPDATE conversations SET current_node =
  (SELECT id FROM messages WHERE conversation_id = ?1 ORDER BY seq DESC LIMIT 1)
WHERE id = ?1

-- name: delete_family_log
DELETE FROM family_log WHERE root_seq = ?

-- name: register_push_service
INSERT INTO push_services
  (id, registrant, service_key, service_name, scope_kind, base_url, invoke_url, project_id, agent_id, version, runtime,
   region, capabilities, metadata, created_at, updated_at, last_heartbeat_at, disabled_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?15, ?15, ?15, NULL)
ON CONFLICT (registrant, service_key) DO UPDATE SET
  service_name = excluded.service_name, scope_kind = excluded.scope_kind, base_url = excluded.base_url,
  invoke_url = excluded.invoke_url, project_id = excluded.project_id, agent_id = excluded.agent_id,
  version = excluded.version, runtime = excluded.runtime, region = excluded.region,
  capabilities = excluded.capabilities, metadata = excluded.metadata,
  updated_at = excluded.updated_at, last_heartbeat_at = excluded.last_heartbeat_at, disabled_at = NULL,
  silent_at = NULL
RETURNING id

-- name: push_service
SELECT id, registrant, service_key, service_name, scope_kind, base_url, invoke_url, project_id, agent_id, version, runtime,
  region, capabilities, metadata, created_at, updated_at, last_heartbeat_at, disabled_at,
  (SELECT json_group_array(project_id) FROM push_reach WHERE service_id = push_services.id)
FROM push_services WHERE id = ?

-- name: push_services_reaching
SELECT id, registrant, service_key, service_name, scope_kind, base_url, invoke_url, project_id, agent_id, version, runtime,
  region, capabilities, metadata, created_at, updated_at, last_heartbeat_at, disabled_at,
  (SELECT json_group_array(project_id) FROM push_reach WHERE service_id = push_services.id)
FROM push_services WHERE id IN
  (SELECT service_id FROM push_reach WHERE project_id IN (SELECT value FROM json_each(?)))
ORDER BY created_at, id

-- name: push_service_heartbeat
UPDATE push_services SET last_heartbeat_at = ?1, updated_at = ?1, silent_at = NULL WHERE id = ?2

-- name: push_services_fell_silent
UPDATE push_services SET silent_at = ?1 WHERE id IN
  (SELECT id FROM push_services WHERE disabled_at IS NULL AND silent_at IS NULL AND last_heartbeat_at < ?2
   ORDER BY last_heartbeat_at LIMIT ?3)
RETURNING id

-- name: disable_push_service
UPDATE push_services SET disabled_at = coalesce(disabled_at, ?1), updated_at = ?1 WHERE id = ?2

-- name: drop_reach
DELETE FROM push_reach WHERE service_id = ?

-- name: add_reach
INSERT INTO push_reach (project_id, service_id) VALUES (?, ?)

-- name: crowded_push_projects
SELECT project_id FROM push_reach WHERE project_id IN (SELECT value FROM json_each(?1)) AND service_id <> ?2
GROUP BY project_id HAVING count(*) >= ?3 LIMIT 1

-- name: signing_keys
SELECT kid, algorithm, pem, created_at FROM signing_keys ORDER BY created_at, kid

-- name: add_signing_key
INSERT INTO signing_keys (kid, algorithm, pem, created_at) VALUES (?, ?, ?, ?)

-- name: drop_signing_keys
DELETE FROM signing_keys WHERE kid NOT IN
  (SELECT kid FROM signing_keys WHERE algorithm = ?1 ORDER BY created_at DESC, kid DESC LIMIT ?2) AND algorithm = ?1

-- name: lead
SELECT term, owner, expires_at FROM leadership

-- name: put_lead
INSERT INTO leadership (id, term, owner, expires_at) VALUES (1, ?1, ?2, ?3)
ON CONFLICT (id) DO UPDATE SET term = ?1, owner = ?2, expires_at = ?3

-- name: discards
SELECT uid FROM discarded_artifacts ORDER BY uid LIMIT ?

-- name: drop_discard
DELETE FROM discarded_artifacts WHERE uid = ?
