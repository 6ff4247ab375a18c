-- Queries of `runstead db check`, for runs with :after < seq <= :last. Large values are not read.

-- name: integrity_latest_seq
SELECT coalesce(max(seq), 0) FROM runs

-- name: integrity_logs
-- postgres
-- Events are found by the run's creation time: others are misplaced.
SELECT run_seq, count(*) AS events, min(event_id) AS first, max(event_id) AS last, sum(counted) AS counted,
  sum(miscounted) AS miscounted, sum(misplaced) AS misplaced, sum(ends) AS ends
FROM (
  SELECT e.run_seq, e.event_id, (e.flags & 3 = 1)::integer AS counted,
    (e.sequence <> sum((e.flags & 3 = 1)::integer) OVER (PARTITION BY e.run_seq ORDER BY e.event_id))::integer AS miscounted,
    (e.run_created_at <> r.created_at)::integer AS misplaced,
    (e.type IN ('RUN_FINISHED', 'RUN_ERROR'))::integer AS ends
  FROM run_events AS e JOIN runs AS r ON r.seq = e.run_seq WHERE e.run_seq > :after AND e.run_seq <= :last
) AS events
GROUP BY run_seq
-- sqlite
SELECT seq, count(*) AS events, min(event_id) AS first, max(event_id) AS last, sum(counted) AS counted,
  sum(miscounted) AS miscounted, 0 AS misplaced, sum(type IN ('RUN_FINISHED', 'RUN_ERROR')) AS ends
FROM (
  SELECT id >> 24 AS seq, id & 16777215 AS event_id, type, flags & 3 = 1 AS counted,
    sequence <> sum(flags & 3 = 1) OVER (PARTITION BY id >> 24 ORDER BY id) AS miscounted
  FROM run_events WHERE id >= (:after + 1) << 24 AND id < (:last + 1) << 24
)
GROUP BY seq

-- name: integrity_ends
-- postgres
SELECT r.seq, e.type, CASE WHEN e.type = 'RUN_ERROR' AND octet_length(e.payload) <= 65536 THEN e.payload END AS payload
FROM runs AS r JOIN run_events AS e
  ON e.run_created_at = r.created_at AND e.run_seq = r.seq AND e.event_id = r.latest_event_id
WHERE r.seq > :after AND r.seq <= :last
-- sqlite
-- Flag 16: compressed, so it is large.
SELECT r.seq, e.type,
  CASE WHEN e.type = 'RUN_ERROR' AND e.flags & 16 = 0 AND length(e.payload) <= 65536 THEN e.payload END AS payload
FROM runs AS r JOIN run_events AS e ON e.id = (r.seq << 24) + r.latest_event_id WHERE r.seq > :after AND r.seq <= :last

-- name: integrity_children
-- postgres
SELECT c.parent_seq, sum(1 + coalesce(f.descendants_total, 0)) AS total,
  sum((c.status IN ('pending', 'running', 'waiting'))::integer + coalesce(f.descendants_active, 0)) AS active
FROM runs AS c LEFT JOIN run_families AS f ON f.run_seq = c.seq
WHERE c.parent_seq > :after AND c.parent_seq <= :last GROUP BY c.parent_seq
-- sqlite
SELECT parent_seq, sum(1 + descendants_total) AS total,
  sum((status IN ('pending', 'running', 'waiting')) + descendants_active) AS active
FROM runs WHERE parent_seq > :after AND parent_seq <= :last GROUP BY parent_seq

-- name: integrity_parents
SELECT c.seq AS child_seq, p.seq, p.run_id, p.project_id, coalesce(p.root_seq, p.seq) AS root_seq, p.root_run_id, p.path
FROM runs AS c JOIN runs AS p ON p.seq = c.parent_seq WHERE c.seq > :after AND c.seq <= :last

-- name: integrity_attempts
SELECT run_seq, sum((outcome NOT IN ('parked', 'paused', 'dispatch_failed'))::integer) AS lost, max(attempt) AS latest
FROM run_attempts WHERE run_seq > :after AND run_seq <= :last GROUP BY run_seq

-- name: integrity_keys
SELECT run_seq, max(event_id) AS latest FROM run_event_keys WHERE run_seq > :after AND run_seq <= :last GROUP BY run_seq

-- name: integrity_values
SELECT run_seq, count(*) AS number, max(event_id) AS latest FROM run_values
WHERE run_seq > :after AND run_seq <= :last GROUP BY run_seq

-- name: integrity_signals
SELECT run_seq, count(*) AS signals, max(number) AS latest, max(event_id) AS taken FROM run_signals
WHERE run_seq > :after AND run_seq <= :last GROUP BY run_seq

-- name: integrity_waits
SELECT run_seq, count(*) AS number FROM event_waits WHERE run_seq > :after AND run_seq <= :last GROUP BY run_seq

-- name: integrity_compensations
SELECT run_seq, count(*) AS number FROM run_compensations
WHERE run_seq > :after AND run_seq <= :last AND child_seq IS NULL GROUP BY run_seq

-- name: integrity_uncancelled
-- Active descendants of cancelled runs that the cancel reaches: '~' stands before a compensation.
-- postgres
SELECT a.seq, count(*) AS number FROM runs AS a
JOIN runs AS d ON d.root_seq = coalesce(a.root_seq, a.seq) AND d.parent_seq IS NOT NULL
WHERE a.seq > :after AND a.seq <= :last AND a.status = 'cancelled'
  AND coalesce((SELECT descendants_active FROM run_families WHERE run_seq = a.seq), 0) > 0
  AND d.status IN ('pending', 'running', 'waiting') AND strpos(d.path, '/' || a.seq || '/') > 0
  AND strpos(substr(d.path, strpos(d.path, '/' || a.seq || '/')), '~') = 0
GROUP BY a.seq
-- sqlite
SELECT a.seq, count(*) AS number FROM runs AS a
JOIN runs AS d ON d.root_seq = coalesce(a.root_seq, a.seq) AND d.parent_seq IS NOT NULL
WHERE a.seq > :after AND a.seq <= :last AND a.status = 'cancelled'
  AND a.descendants_active > 0
  AND d.status IN ('pending', 'running', 'waiting') AND instr(d.path, '/' || a.seq || '/') > 0
  AND instr(substr(d.path, instr(d.path, '/' || a.seq || '/')), '~') = 0
GROUP BY a.seq

-- name: integrity_inputs
SELECT run_seq, id FROM input_requests
WHERE run_seq > :after AND run_seq <= :last AND status = 'open' ORDER BY run_seq, id

-- name: integrity_gaps
-- postgres
-- A root's counter `logged` is the number of assigned positions.
SELECT l.root_seq, sum((l.start <> l.expected)::integer) + max((l.counted <> f.logged)::integer) AS gaps FROM (
  SELECT root_seq, start,
    1 + coalesce(sum(last - first + 1) OVER before, 0) AS expected,
    sum(last - first + 1) OVER (PARTITION BY root_seq) AS counted
  FROM family_log WHERE root_seq > :after AND root_seq <= :last
  WINDOW before AS (PARTITION BY root_seq ORDER BY start ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) AS l LEFT JOIN run_families AS f ON f.run_seq = l.root_seq
GROUP BY l.root_seq
-- sqlite
SELECT root_seq, sum(start <> expected) AS gaps FROM (
  SELECT root_seq, start,
    1 + coalesce(sum(last - first + 1) OVER (
      PARTITION BY root_seq ORDER BY start ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS expected
  FROM family_log WHERE root_seq > :after AND root_seq <= :last
)
GROUP BY root_seq

-- name: integrity_placed
SELECT l.root_seq, sum(l.last - l.first + 1) AS events FROM family_log AS l JOIN runs AS r ON r.seq = l.run_seq
WHERE l.root_seq > :after AND l.root_seq <= :last AND l.run_seq <> l.root_seq GROUP BY l.root_seq

-- name: integrity_stored
SELECT root_seq, sum(latest_event_id) AS events FROM runs
WHERE root_seq > :after AND root_seq <= :last AND parent_seq IS NOT NULL GROUP BY root_seq

-- name: stats_runs
SELECT status, count(*) AS runs, sum(latest_event_id)::bigint AS events,
  min(CASE WHEN status = 'pending' THEN created_at END) AS oldest_pending_at
FROM runs GROUP BY status

-- name: check_message_without_run
SELECT id, conversation_id, run_seq FROM messages AS m
WHERE run_seq IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs WHERE seq = m.run_seq) LIMIT 100

-- name: check_message_without_conversation
SELECT id, conversation_id FROM messages AS m
WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = m.conversation_id) LIMIT 100

-- name: check_message_count
SELECT * FROM (
  SELECT c.id, c.message_count, (SELECT max(seq) FROM messages AS m WHERE m.conversation_id = c.id) AS newest
  FROM conversations AS c
) AS checked WHERE message_count < newest LIMIT 100

-- name: check_newest_message
SELECT * FROM (
  SELECT c.id, c.current_node,
    (SELECT m.id FROM messages AS m WHERE m.conversation_id = c.id ORDER BY m.seq DESC LIMIT 1) AS newest
  FROM conversations AS c
) AS checked WHERE current_node IS DISTINCT FROM newest LIMIT 100

-- name: check_input_without_conversation
SELECT id, conversation_id FROM input_requests AS i
WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = i.conversation_id) LIMIT 100

-- name: check_secrets_of_ended_run
SELECT s.request_id, s.run_seq FROM input_secrets AS s
JOIN runs AS r ON r.seq = s.run_seq WHERE r.status NOT IN ('pending', 'running', 'waiting') LIMIT 100

-- name: check_batch_count
SELECT * FROM (
  SELECT b.id, {counted_active} AS counted,
    (SELECT count(*) FROM runs AS r WHERE r.batch_id = b.id AND r.project_id = b.project_id
      AND r.status IN ('pending', 'running', 'waiting')) AS active,
    b.completed_at
  FROM batches AS b
) AS checked WHERE counted <> active OR (active = 0) <> (completed_at IS NOT NULL) LIMIT 100
