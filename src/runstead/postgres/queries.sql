-- Named queries; {columns} are the columns of a run in the order of its fields, {locked} the same and what locks tell
-- beside them, {runs} where they come from, {clock} the time in ms.

-- name: moment
SELECT {clock}, pg_current_xact_id()::text

-- name: load
-- Locks every run that is named, and the whole line above a parent, lowest first: the one order that all take. The time
-- is read after each lock, the last one counts. A number for every run that is not there yet comes along, and which of
-- the projects $4 have webhooks, and of $5 limits on running runs.
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
SELECT {clock}, pg_current_xact_id()::text, fresh.seqs,
  ARRAY(SELECT DISTINCT project_id FROM webhooks WHERE project_id = ANY ($4::text[]) AND disabled_at IS NULL) AS hooked,
  fresh.limited, locked.*
FROM (
  SELECT
    ARRAY(SELECT nextval('run_seq') FROM generate_series(1, cardinality($1) - (SELECT count(*) FROM named))),
    ARRAY(SELECT DISTINCT project_id FROM concurrency_limits WHERE project_id = ANY ($5::text[]))
) AS fresh (seqs, limited)
LEFT JOIN LATERAL (
  SELECT {locked} FROM {runs} WHERE seq = ANY (ARRAY(SELECT seq FROM line)) ORDER BY seq FOR UPDATE OF runs
) AS locked ON true

-- name: run_by_key
SELECT {columns} FROM {runs} WHERE run_id = $1 AND project_id = $2

-- name: runs_by_id
SELECT {columns} FROM {runs} WHERE run_id = $1 AND project_id = ANY ($2::text[]) LIMIT 2

-- name: children
SELECT {columns} FROM {runs}
WHERE parent_seq = $1 AND seq > $3 AND ($4::text IS NULL OR kind = $4) ORDER BY seq LIMIT $2

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
SELECT {locked} FROM {runs}
WHERE root_seq = $1 AND parent_seq IS NOT NULL AND status IN ('pending', 'running', 'waiting')
  AND strpos(path, $2) > 0
ORDER BY seq FOR UPDATE OF runs

-- name: any_child
SELECT 1 FROM runs WHERE parent_seq = $1 LIMIT 1

-- name: found_families
UPDATE runs SET familied = true WHERE seq = ANY ($1::bigint[])

-- name: count_families
-- The rows of roots are held until the commit: who gets places after these becomes visible after these.
INSERT INTO run_families AS f (run_seq, descendants_total, descendants_active, logged)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS moved (run_seq, total, active, logged)
ORDER BY run_seq
ON CONFLICT (run_seq) DO UPDATE SET
  descendants_total = f.descendants_total + excluded.descendants_total,
  descendants_active = f.descendants_active + excluded.descendants_active,
  logged = f.logged + excluded.logged
RETURNING run_seq, logged

-- name: log_families
-- A stretch that goes on where the family's last one ended makes that one longer.
INSERT INTO family_log (root_seq, start, run_seq, first, last)
SELECT s.root_seq, coalesce(e.start, s.start), s.run_seq, s.first, s.last
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::integer[])
  AS s (root_seq, start, run_seq, first, last)
LEFT JOIN LATERAL (
  SELECT * FROM family_log AS l WHERE l.root_seq = s.root_seq AND l.start < s.start ORDER BY l.start DESC LIMIT 1
) AS e ON e.run_seq = s.run_seq AND e.last = s.first - 1 AND e.start + e.last - e.first + 1 = s.start
ON CONFLICT (root_seq, start) DO UPDATE SET last = excluded.last

-- name: family_state
SELECT
  coalesce(
    (SELECT status IN ('completed', 'failed', 'cancelled') AND coalesce(descendants_active, 0) = 0
     FROM {runs} WHERE seq = $1),
    true
  ),
  root.familied, root.latest_event_id,
  (SELECT logged FROM run_families WHERE run_seq = $2)
FROM (SELECT 1) AS always LEFT JOIN runs AS root ON root.seq = $2

-- name: family_events
-- $1 the root, $2 after, $3 how many, $4 their bytes, $5 types, $6 the run and $7 the step in the paths below it. Sizes
-- are known without reading the payloads. The last column tells how many there are within $3.
SELECT run_id, position, event_id, type, payload, created_at, flags, sequence, found
FROM (
  SELECT *, row_number() OVER told AS place, sum(octet_length(payload)) OVER told AS bytes, count(*) OVER () AS found
  FROM (
    SELECT r.run_id, l.start + e.event_id - l.first AS position, e.*
    FROM family_log AS l
    JOIN runs AS r ON r.seq = l.run_seq
    CROSS JOIN LATERAL (
      SELECT event_id, type, payload, created_at, flags, sequence FROM run_events
      WHERE run_created_at = r.created_at AND run_seq = l.run_seq
        AND event_id >= l.first + greatest($2::bigint + 1 - l.start, 0) AND event_id <= l.last
        AND flags & 2 = 0 AND ($5::text[] IS NULL OR type = ANY ($5))
      ORDER BY event_id LIMIT $3::bigint + 1
    ) AS e
    WHERE l.root_seq = $1
      AND l.start >= coalesce((SELECT max(start) FROM family_log WHERE root_seq = $1 AND start <= $2::bigint + 1), 0)
      AND ($7::text IS NULL OR l.run_seq = $6::bigint OR strpos(r.path, $7) > 0)
    ORDER BY l.start, e.event_id LIMIT $3::bigint + 1
  ) AS page
  WINDOW told AS (ORDER BY position)
) AS measured
WHERE place <= $3 AND (place = 1 OR bytes <= $4) ORDER BY position

-- name: lone_events
-- The same of a root without a family.
SELECT run_id, event_id::bigint AS position, event_id, type, payload, created_at, flags, sequence, found
FROM (
  SELECT *, row_number() OVER told AS place, sum(octet_length(payload)) OVER told AS bytes, count(*) OVER () AS found
  FROM (
    SELECT r.run_id, e.event_id, e.type, e.payload, e.created_at, e.flags, e.sequence
    FROM runs AS r JOIN run_events AS e ON e.run_created_at = r.created_at AND e.run_seq = r.seq
    WHERE r.seq = $1 AND e.event_id > $2::bigint AND e.flags & 2 = 0 AND ($5::text[] IS NULL OR e.type = ANY ($5))
    ORDER BY e.event_id LIMIT $3::bigint + 1
  ) AS page
  WINDOW told AS (ORDER BY event_id)
) AS measured
WHERE place <= $3 AND (place = 1 OR bytes <= $4) ORDER BY event_id

-- name: silent_family
SELECT seq, path, status IN ('completed', 'failed', 'cancelled') FROM runs
WHERE metadata IS NULL AND (seq = $1 OR (root_seq = $1 AND parent_seq IS NOT NULL))

-- name: reporting_family
SELECT seq, path, status IN ('completed', 'failed', 'cancelled'), metadata FROM runs
WHERE metadata IS NOT NULL AND (seq = $1 OR (root_seq = $1 AND parent_seq IS NOT NULL))

-- name: due_heads
-- The soonest of every project in which a deadline has passed: one look into the index from a project to the next.
WITH RECURSIVE projects (name, soonest) AS (
  (SELECT project_id, due_at FROM runs WHERE due_at IS NOT NULL ORDER BY project_id, due_at LIMIT 1)
  UNION ALL
  SELECT next.project_id, next.due_at FROM projects CROSS JOIN LATERAL (
    SELECT project_id, due_at FROM runs WHERE due_at IS NOT NULL AND project_id > projects.name
    ORDER BY project_id, due_at LIMIT 1
  ) AS next
)
SELECT heads.* FROM projects CROSS JOIN LATERAL (
  SELECT project_id, due_at, seq FROM runs WHERE project_id = projects.name AND due_at <= $1 ORDER BY due_at, seq LIMIT $2
) AS heads
WHERE soonest <= $1

-- name: lock_due
-- In the order given, as many as are free.
SELECT {locked} FROM unnest($1::bigint[]) WITH ORDINALITY AS turns (run, turn) JOIN runs ON seq = turns.run
LEFT JOIN run_families ON run_seq = seq
WHERE due_at <= $2 ORDER BY turn LIMIT $3 FOR UPDATE OF runs SKIP LOCKED

-- name: queued_targets
-- '' stands for none. One look into the index for each.
WITH RECURSIVE found (name) AS (
  SELECT (
    SELECT coalesce(target, '') FROM runs WHERE project_id = $1 AND available_at IS NOT NULL
    ORDER BY coalesce(target, '') LIMIT 1
  )
  UNION ALL
  SELECT (
    SELECT coalesce(target, '') FROM runs
    WHERE project_id = $1 AND available_at IS NOT NULL AND coalesce(target, '') > found.name
    ORDER BY coalesce(target, '') LIMIT 1
  )
  FROM found WHERE name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL

-- name: push_heads
-- What is due of each (project, service, target, priority) that is queued for push services; $2 the services to pass
-- over, $3 how many of each. One look into the index from each of them to the next.
WITH RECURSIVE projects (p) AS (
  SELECT (
    SELECT project_id FROM runs WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL ORDER BY project_id LIMIT 1
  )
  UNION ALL
  SELECT (
    SELECT project_id FROM runs WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL AND project_id > p
    ORDER BY project_id LIMIT 1
  )
  FROM projects WHERE p IS NOT NULL
), services (p, s) AS (
  SELECT p, (
    SELECT push_service_id FROM runs WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL AND project_id = p
    ORDER BY push_service_id LIMIT 1
  )
  FROM projects WHERE p IS NOT NULL
  UNION ALL
  SELECT p, (
    SELECT push_service_id FROM runs WHERE push_service_id > s AND available_at IS NOT NULL AND project_id = p
    ORDER BY push_service_id LIMIT 1
  )
  FROM services WHERE s IS NOT NULL
), targets (p, s, t) AS (
  SELECT p, s, (
    SELECT coalesce(target, '') FROM runs WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p
    ORDER BY coalesce(target, '') LIMIT 1
  )
  FROM services WHERE s IS NOT NULL AND s <> ALL ($2::text[])
  UNION ALL
  SELECT p, s, (
    SELECT coalesce(target, '') FROM runs
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') > t
    ORDER BY coalesce(target, '') LIMIT 1
  )
  FROM targets WHERE t IS NOT NULL
), steps (p, s, t, step) AS (
  SELECT p, s, t, (
    SELECT priority FROM runs
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') = t
    ORDER BY priority DESC LIMIT 1
  )
  FROM targets WHERE t IS NOT NULL
  UNION ALL
  SELECT p, s, t, (
    SELECT priority FROM runs
    WHERE push_service_id = s AND available_at IS NOT NULL AND project_id = p AND coalesce(target, '') = t
      AND priority < step
    ORDER BY priority DESC LIMIT 1
  )
  FROM steps WHERE step IS NOT NULL
)
SELECT p AS project_id, nullif(t, '') AS target, heads.*,
  EXISTS (SELECT FROM concurrency_limits AS l WHERE l.project_id = p) AS limited
FROM steps CROSS JOIN LATERAL (
  SELECT seq, priority, available_at FROM runs
  WHERE project_id = p AND push_service_id = s AND coalesce(target, '') = t AND priority = step AND available_at <= $1
  ORDER BY available_at, seq LIMIT $3
) AS heads

-- name: lock_pushes
-- In the order given, as many as are free.
SELECT {locked} FROM unnest($1::bigint[]) WITH ORDINALITY AS turns (run, turn) JOIN runs ON seq = turns.run
LEFT JOIN run_families ON run_seq = seq
WHERE push_service_id IS NOT NULL AND available_at <= $2 ORDER BY turn LIMIT $3 FOR UPDATE OF runs SKIP LOCKED

-- name: occupancies
-- The limits of projects, and how many runs count for each, up to $2.
SELECT l.project_id, l.target, l.max_running, CASE l.target
    WHEN '' THEN (
      SELECT count(*) FROM (
        SELECT FROM runs AS r WHERE r.project_id = l.project_id AND r.status = 'running' AND r.available_at IS NULL
        LIMIT $2
      ) AS found
    )
    ELSE (
      SELECT count(*) FROM (
        SELECT FROM runs AS r WHERE r.project_id = l.project_id AND r.status = 'running' AND r.available_at IS NULL
          AND coalesce(r.target, '') = l.target
        LIMIT $2
      ) AS found
    )
  END,
  {clock} AS now
FROM concurrency_limits AS l WHERE l.project_id = ANY ($1::text[]) ORDER BY l.project_id, l.target

-- name: drop_concurrency_limits
DELETE FROM concurrency_limits WHERE project_id = $1

-- name: add_concurrency_limits
INSERT INTO concurrency_limits (project_id, target, max_running)
SELECT $1, * FROM unnest($2::text[], $3::bigint[])

-- name: cancelled_pushes
SELECT {columns} FROM {runs}
WHERE push_service_id IS NOT NULL AND cancel_requested_at IS NOT NULL AND cancel_stopped_at IS NULL
  AND push_service_id <> ALL ($1::text[])
ORDER BY cancel_requested_at, seq LIMIT $2

-- name: run_exists
SELECT 1 FROM runs WHERE seq = $1

-- name: event
SELECT event_id, type, payload, created_at, flags, sequence FROM run_events
WHERE run_created_at = (SELECT created_at FROM runs WHERE seq = $1) AND run_seq = $1 AND event_id = $2
  AND flags & 2 = 0

-- name: event_counts
SELECT type, count(*) AS times, min(created_at), max(created_at) FROM run_events
WHERE run_created_at = (SELECT created_at FROM runs WHERE seq = $1) AND run_seq = $1 AND flags & 2 = 0
GROUP BY type ORDER BY times DESC, type

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

-- name: event_keys
SELECT key, digest FROM run_event_keys WHERE run_seq = $1 AND key = ANY ($2::text[])

-- name: add_event_keys
INSERT INTO run_event_keys (run_seq, key, event_id, digest)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::bytea[])

-- name: delete_runs
-- All that belongs to a run, but for its message and its counters. Its places in its family's order stay empty.
WITH gone AS (DELETE FROM runs WHERE seq = $1 AND version = $2 RETURNING seq, created_at),
events AS (DELETE FROM run_events AS e USING gone WHERE e.run_created_at = gone.created_at AND e.run_seq = gone.seq),
keys AS (DELETE FROM run_event_keys USING gone WHERE run_seq = seq),
attempts AS (DELETE FROM run_attempts USING gone WHERE run_seq = seq),
receipts AS (DELETE FROM run_receipts USING gone WHERE run_seq = seq),
sessions AS (DELETE FROM worker_sessions USING gone WHERE run_seq = gone.seq),
inputs AS (DELETE FROM input_requests AS i USING gone WHERE i.run_seq = gone.seq),
counters AS (DELETE FROM run_families USING gone WHERE run_seq = seq),
log AS (DELETE FROM family_log USING gone WHERE root_seq = seq)
SELECT count(*) FROM gone

-- name: delete_message
DELETE FROM messages WHERE conversation_id = $1 AND run_seq = $2 RETURNING id

-- name: orphan_messages
UPDATE messages SET parent_id = NULL WHERE conversation_id = $1 AND parent_id = ANY ($2::text[])

-- name: newest_message_stands
UPDATE conversations SET current_node =
  (SELECT id FROM messages WHERE conversation_id = $1 ORDER BY seq DESC LIMIT 1)
WHERE id = $1

-- name: lock_conversations
SELECT id, message_count FROM conversations WHERE id = ANY ($1::text[]) AND status <> 'deleted' ORDER BY id FOR UPDATE

-- name: count_messages
UPDATE conversations AS c SET message_count = moved.count, last_message_at = moved.at,
  updated_at = greatest(c.updated_at, moved.at), current_node = moved.node
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS moved (id, count, at, node) WHERE c.id = moved.id

-- name: add_messages
INSERT INTO messages
  (id, conversation_id, role, created_at, updated_at, seq, run_seq, parent_id, created_by, idempotency_key, digest,
   metadata, parts, outcome)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
  $8::text[], $9::text[], $10::text[], $11::bytea[], $12::bytea[], $13::bytea[], $14::bytea[])

-- name: message_by_key
SELECT id, conversation_id, role, created_at, updated_at, seq, run_seq, parent_id, created_by, idempotency_key,
  digest, metadata, parts, outcome
FROM messages WHERE conversation_id = $1 AND idempotency_key = $2

-- name: parent_message
SELECT id FROM messages WHERE conversation_id = $1 AND (id = $2 OR idempotency_key = $2) ORDER BY id = $2 DESC LIMIT 1

-- name: messages_after
-- Sizes are known without reading the values.
SELECT id, conversation_id, role, created_at, updated_at, seq, run_seq, parent_id, created_by, idempotency_key, digest,
  metadata, parts, outcome, r_seq, r_run_id, r_status, r_latest, r_updated_at, r_metadata
FROM (
  SELECT *, row_number() OVER told AS place,
    sum(coalesce(octet_length(parts), 0) + coalesce(octet_length(metadata), 0) + coalesce(octet_length(outcome), 0)
      + coalesce(octet_length(r_metadata), 0)) OVER told AS bytes
  FROM (
    SELECT m.*, r.seq AS r_seq, r.run_id AS r_run_id, r.status AS r_status, r.latest_event_id AS r_latest,
      r.updated_at AS r_updated_at, r.metadata AS r_metadata
    FROM messages AS m LEFT JOIN runs AS r ON r.seq = m.run_seq
    WHERE m.conversation_id = $1 AND m.seq > $2 ORDER BY m.seq LIMIT $3
  ) AS page
  WINDOW told AS (ORDER BY seq)
) AS measured
WHERE place = 1 OR bytes <= $4 ORDER BY seq

-- name: add_input_request
INSERT INTO input_requests
  (id, conversation_id, run_seq, run_id, tool_call_id, requested_responder_type, title, fields, created_at, salt,
   status, description, metadata, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)

-- name: close_input_request
UPDATE input_requests SET status = $2, ended_at = $3, response_id = $4, actor_type = $5, actor_id = $6,
  response_values = $7, withheld = $8, digest = $9, responded_at = $10
WHERE id = $1 AND status = 'open'

-- name: input_request
SELECT {request} FROM input_requests WHERE id = $1

-- name: input_request_of_call
SELECT {request} FROM input_requests WHERE run_seq = $1 AND tool_call_id = $2

-- name: input_requests_page
SELECT {request} FROM input_requests WHERE conversation_id = $1 AND ($2::text IS NULL OR status = $2) AND seq < $3
ORDER BY seq DESC LIMIT $4

-- name: input_requests_of_run
SELECT {request} FROM input_requests WHERE run_seq = $1 ORDER BY seq DESC LIMIT $2

-- name: batch
SELECT {batch} FROM {batches} WHERE b.id = $1

-- name: lock_batch
SELECT {batch} FROM {batches} WHERE b.id = $1 AND b.project_id = $2 FOR NO KEY UPDATE OF b

-- name: batches_page
SELECT {batch} FROM {batches} WHERE b.project_id = $1 AND b.seq < $2 ORDER BY b.seq DESC LIMIT $3

-- name: unfinished_batches
SELECT {batch} FROM {batches}
WHERE b.seq = ANY (ARRAY(
  (SELECT seq FROM batches WHERE cancel_requested_at IS NOT NULL AND completed_at IS NULL ORDER BY seq LIMIT $1)
  UNION ALL
  (SELECT seq FROM batches
   WHERE on_complete IS NOT NULL AND completed_at IS NOT NULL AND cancel_requested_at IS NULL
     AND followed_up_at IS NULL
   ORDER BY seq LIMIT $1)
))
ORDER BY b.seq LIMIT $1

-- name: add_batch
INSERT INTO batches
  (id, project_id, created_at, name, created_by, on_complete, cancel_requested_at, cancel_reason, completed_at,
   followed_up_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING seq

-- name: change_batch
UPDATE batches SET cancel_requested_at = $2, cancel_reason = $3, followed_up_at = $4 WHERE id = $1

-- name: count_batches
-- Of the batches that are there: any other batch_id is a label. Rows are held until the commit, and locked in one order.
WITH moved AS MATERIALIZED (
  SELECT m.* FROM unnest(
    $1::text[], $2::text[], $3::smallint[], $4::bigint[], $5::integer[], $6::integer[], $7::integer[], $8::integer[],
    $9::integer[], $10::integer[]
  ) AS m (project_id, batch_id, slot, started_at, pending, running, waiting, completed, failed, cancelled)
  JOIN batches AS b ON b.id = m.batch_id AND b.project_id = m.project_id
), counted AS (
  INSERT INTO batch_counts AS c
    (batch_id, slot, started_at, pending, running, waiting, completed, failed, cancelled)
  SELECT batch_id, slot, started_at, pending, running, waiting, completed, failed, cancelled FROM moved
  ORDER BY batch_id COLLATE "C", slot
  ON CONFLICT (batch_id, slot) DO UPDATE SET
    started_at = least(c.started_at, excluded.started_at),
    pending = c.pending + excluded.pending,
    running = c.running + excluded.running,
    waiting = c.waiting + excluded.waiting,
    completed = c.completed + excluded.completed,
    failed = c.failed + excluded.failed,
    cancelled = c.cancelled + excluded.cancelled
  RETURNING batch_id, slot, pending + running + waiting AS active
)
SELECT m.project_id, m.batch_id, m.slot, c.active FROM counted AS c JOIN moved AS m USING (batch_id, slot)

-- name: open_batch
-- $2: how many more of its slots have runs that have not ended. Once there is none, it is complete for ever.
UPDATE batches SET open_slots = open_slots + $2,
  completed_at = CASE WHEN open_slots + $2 = 0 THEN $3::bigint END
WHERE id = $1 AND completed_at IS NULL

-- name: batch_alive
-- The oldest runs of a batch that have not ended, and all that runs below them, locked lowest first.
WITH members AS MATERIALIZED (
  SELECT seq, root_seq FROM runs
  WHERE batch_id = $1 AND project_id = $2 AND status IN ('pending', 'running', 'waiting') ORDER BY seq LIMIT $3
)
SELECT {locked} FROM {runs}
WHERE seq = ANY (ARRAY(
  SELECT seq FROM members
  UNION
  SELECT r.seq FROM members AS m
  JOIN run_families AS f ON f.run_seq = m.seq AND f.descendants_active > 0
  JOIN runs AS r ON r.root_seq = m.root_seq AND r.parent_seq IS NOT NULL
    AND r.status IN ('pending', 'running', 'waiting') AND strpos(r.path, '/' || m.seq || '/') > 0
))
ORDER BY seq FOR UPDATE OF runs

-- name: alive_below
-- All that runs below these runs ($1, of the families of $2), locked lowest first.
SELECT {locked} FROM {runs}
WHERE seq = ANY (ARRAY(
  SELECT r.seq FROM unnest($1::bigint[], $2::bigint[]) AS m (seq, root_seq)
  JOIN runs AS r ON r.root_seq = m.root_seq AND r.parent_seq IS NOT NULL
    AND r.status IN ('pending', 'running', 'waiting') AND strpos(r.path, '/' || m.seq || '/') > 0
))
ORDER BY seq FOR UPDATE OF runs

-- name: schedule
SELECT {schedule} FROM schedules WHERE id = $1 AND project_id = $2

-- name: lock_schedules
SELECT {schedule} FROM schedules WHERE id = ANY ($1::text[]) ORDER BY id FOR UPDATE

-- name: count_schedules
SELECT count(*) FROM schedules WHERE project_id = $1 AND status <> 'deleting'

-- name: lock_standing_schedules
SELECT {schedule} FROM schedules WHERE project_id = $1 AND status <> 'deleting' ORDER BY id FOR UPDATE

-- name: delete_schedule
DELETE FROM schedules WHERE id = $1 AND version = $2

-- name: due_schedules
SELECT {schedule} FROM schedules WHERE next_fire_at <= $1 ORDER BY next_fire_at, id LIMIT $2 FOR UPDATE SKIP LOCKED

-- name: fresh_seqs
SELECT nextval('run_seq') FROM generate_series(1, $1)

-- name: runs_by_keys
SELECT {columns} FROM {runs}
WHERE (run_id, project_id) IN (SELECT run_id, project_id FROM unnest($1::text[], $2::text[]) AS k (run_id, project_id))

-- name: runs_of_schedules_alive
-- The oldest of each that have not ended, as many as are asked for.
SELECT asked.id, alive.*
FROM unnest($1::text[], $2::bigint[]) AS asked (id, most)
CROSS JOIN LATERAL (
  SELECT {columns} FROM {runs}
  WHERE schedule_id = asked.id AND status IN ('pending', 'running', 'waiting')
  ORDER BY seq LIMIT asked.most
) AS alive

-- name: families_alive
-- (run, one below it)
SELECT top.seq, below.seq
FROM unnest($1::bigint[], $2::bigint[]) AS top (seq, root_seq)
JOIN runs AS below ON below.root_seq = top.root_seq
WHERE below.parent_seq IS NOT NULL AND below.status IN ('pending', 'running', 'waiting')
  AND strpos(below.path, '/' || top.seq || '/') > 0
ORDER BY below.seq

-- name: lock_free_runs
SELECT {locked} FROM {runs} WHERE seq = ANY ($1::bigint[]) ORDER BY seq FOR UPDATE OF runs SKIP LOCKED

-- name: live_conversations
SELECT id FROM conversations WHERE id = ANY ($1::text[]) AND status <> 'deleted'

-- name: schedules_page
SELECT {schedule} FROM schedules
WHERE project_id = $1 AND ($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR source_trigger_id = $3)
ORDER BY created_at, id LIMIT $4

-- name: lock_names
-- Until the commit, for what no row stands for. In one order.
SELECT pg_advisory_xact_lock($1::integer, number)
FROM (SELECT DISTINCT hashtext(name) AS number FROM unnest($2::text[]) AS named (name) ORDER BY number) AS numbers

-- name: register_push_service
INSERT INTO push_services
  (id, registrant, service_key, service_name, scope_kind, base_url, invoke_url, project_id, agent_id, version, runtime,
   region, capabilities, metadata, created_at, updated_at, last_heartbeat_at, disabled_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $15, NULL)
ON CONFLICT (registrant, service_key) DO UPDATE SET
  service_name = excluded.service_name, scope_kind = excluded.scope_kind, base_url = excluded.base_url,
  invoke_url = excluded.invoke_url, project_id = excluded.project_id, agent_id = excluded.agent_id,
  version = excluded.version, runtime = excluded.runtime, region = excluded.region,
  capabilities = excluded.capabilities, metadata = excluded.metadata,
  updated_at = excluded.updated_at, last_heartbeat_at = excluded.last_heartbeat_at, disabled_at = NULL,
  silent_at = NULL
RETURNING id

-- name: push_service
SELECT {service} FROM push_services WHERE id = $1

-- name: push_services_reaching
SELECT {service} FROM push_services
WHERE id IN (SELECT service_id FROM push_reach WHERE project_id = ANY ($1::text[])) ORDER BY created_at, id

-- name: push_service_heartbeat
UPDATE push_services SET last_heartbeat_at = $1, updated_at = $1, silent_at = NULL WHERE id = $2 RETURNING 1

-- name: push_services_fell_silent
WITH silent AS (
  SELECT id AS silent_id FROM push_services
  WHERE disabled_at IS NULL AND silent_at IS NULL AND last_heartbeat_at < $2
  ORDER BY last_heartbeat_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED)
UPDATE push_services SET silent_at = $1 FROM silent WHERE id = silent_id RETURNING {service}

-- name: disable_push_service
UPDATE push_services SET disabled_at = coalesce(disabled_at, $1), updated_at = $1 WHERE id = $2

-- name: drop_reach
DELETE FROM push_reach WHERE service_id = $1

-- name: add_reach
INSERT INTO push_reach (project_id, service_id) SELECT DISTINCT project_id, $1 FROM unnest($2::text[]) AS r (project_id)

-- name: crowded_push_projects
SELECT project_id FROM push_reach WHERE project_id = ANY ($1::text[]) AND service_id <> $2
GROUP BY project_id HAVING count(*) >= $3::bigint LIMIT 1

-- name: signing_keys
SELECT kid, algorithm, pem, created_at FROM signing_keys ORDER BY created_at, kid

-- name: add_signing_key
INSERT INTO signing_keys (kid, algorithm, pem, created_at) VALUES ($1, $2, $3, $4)

-- name: drop_signing_keys
DELETE FROM signing_keys WHERE algorithm = $1 AND kid NOT IN
  (SELECT kid FROM signing_keys WHERE algorithm = $1 ORDER BY created_at DESC, kid DESC LIMIT $2)

-- name: seals
SELECT s.owner, s.key, s.digest, s.status, s.body
FROM unnest($1::text[], $2::text[]) AS k (owner, key) JOIN seals AS s ON s.owner = k.owner AND s.key = k.key

-- name: add_seals
INSERT INTO seals (owner, key, digest, status, body, created_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bytea[], $6::bigint[])
  AS made (owner, key, digest, status, body, created_at)
ORDER BY owner COLLATE "C", key COLLATE "C"

-- name: forget_seals
WITH old AS (SELECT owner, key FROM seals WHERE created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED),
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
  silent_at = NULL,
  display_name = coalesce(excluded.display_name, w.display_name),
  implementation_display_name = coalesce(excluded.implementation_display_name, w.implementation_display_name),
  metadata = coalesce(excluded.metadata, w.metadata)
RETURNING id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at, silent_at

-- name: add_token
INSERT INTO worker_tokens (hash, worker_id, number)
VALUES ($1, $2, (SELECT coalesce(max(number), 0) + 1 FROM worker_tokens WHERE worker_id = $2))

-- name: drop_tokens
DELETE FROM worker_tokens WHERE worker_id = $1
  AND number <= (SELECT max(number) FROM worker_tokens WHERE worker_id = $1) - $2::bigint

-- name: worker_by_token
SELECT id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at, silent_at
FROM workers WHERE id = (SELECT worker_id FROM worker_tokens WHERE hash = $1)

-- name: worker
SELECT id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at, silent_at
FROM workers WHERE id = $1

-- name: worker_heartbeat
UPDATE workers SET last_heartbeat_at = $1, updated_at = $1, silent_at = NULL WHERE id = $2
RETURNING id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at, silent_at

-- name: workers_heard
WITH heard AS (SELECT id FROM workers WHERE id = ANY ($2::text[]) ORDER BY id FOR NO KEY UPDATE)
UPDATE workers SET last_heartbeat_at = $1, updated_at = $1, silent_at = NULL FROM heard WHERE workers.id = heard.id

-- name: workers_fell_silent
WITH silent AS (
  SELECT id FROM workers WHERE silent_at IS NULL AND last_heartbeat_at < $2
  ORDER BY last_heartbeat_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED)
UPDATE workers SET silent_at = $1 FROM silent WHERE workers.id = silent.id
RETURNING workers.id, workers.project_id, workers.implementation_kind, workers.worker_key, workers.created_at, workers.updated_at, workers.display_name, workers.implementation_display_name, workers.metadata, workers.last_heartbeat_at, workers.silent_at

-- name: workers_page
SELECT id, project_id, implementation_kind, worker_key, created_at, updated_at,
  display_name, implementation_display_name, metadata, last_heartbeat_at, silent_at
FROM workers WHERE project_id = $1 AND (implementation_kind, worker_key) > ($2::text, $3::text)
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
RETURNING id, run_id, implementation_kind, worker_id, session_key, status, created_at, updated_at, metadata, ended_at

-- name: session
SELECT id, run_id, implementation_kind, worker_id, session_key, status, created_at, updated_at, metadata, ended_at
FROM worker_sessions WHERE run_seq = $1 ORDER BY updated_at DESC LIMIT 1

-- name: add_conversation
INSERT INTO conversations
  (id, project_id, type, created_at, updated_at, personal, status, title, summary, metadata, agent_id,
   message_count, last_message_at, created_by, archived_at, current_node)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
RETURNING seq

-- name: conversation
SELECT {conversation} FROM conversations WHERE id = $1

-- name: lock_conversation
SELECT {conversation} FROM conversations WHERE id = $1 FOR UPDATE

-- name: conversations_page
-- One short scan for each project: a single one over all of them would have to sort.
SELECT page.* FROM (SELECT DISTINCT id FROM unnest($1::text[]) AS named (id)) AS projects
CROSS JOIN LATERAL (
  SELECT {conversation} FROM conversations
  WHERE project_id = projects.id AND status <> 'deleted' AND ($2::text IS NULL OR status = $2) AND seq < $3
  ORDER BY seq DESC LIMIT $4
) AS page
ORDER BY seq DESC LIMIT $4

-- name: change_conversation
UPDATE conversations SET project_id = $2, personal = $3, updated_at = $4, status = $5, title = $6, summary = $7,
  archived_at = $8
WHERE id = $1

-- name: runs_of_conversation
SELECT runs.seq FROM messages JOIN runs ON runs.seq = messages.run_seq WHERE messages.conversation_id = $1

-- name: lock_runs
SELECT seq, parent_seq, run_id FROM runs WHERE seq = ANY ($1::bigint[]) ORDER BY seq FOR UPDATE

-- name: children_seqs
SELECT parent_seq, seq FROM runs WHERE parent_seq = ANY ($1::bigint[])

-- name: runs_there
SELECT run_id FROM runs WHERE project_id = $1 AND run_id = ANY ($2::text[]) LIMIT 1

-- name: move_runs
UPDATE runs SET project_id = $1, version = version + 1 WHERE seq = ANY ($2::bigint[])

-- name: lead
SELECT {clock}, term, owner, expires_at FROM (VALUES (1)) AS one (id) LEFT JOIN leadership USING (id)

-- name: put_lead
INSERT INTO leadership AS l (id, term, owner, expires_at) SELECT 1, $1::bigint, $2::text, $3::bigint
WHERE $4::bigint = 0 OR EXISTS (SELECT 1 FROM leadership)
ON CONFLICT (id) DO UPDATE SET term = excluded.term, owner = excluded.owner, expires_at = excluded.expires_at
WHERE l.term = $4 AND l.owner IS NOT DISTINCT FROM $5::text AND l.expires_at = $6::bigint RETURNING true

-- name: discards
SELECT uid FROM discarded_artifacts ORDER BY uid LIMIT $1

-- name: drop_discards
DELETE FROM discarded_artifacts WHERE uid = ANY ($1::text[])
