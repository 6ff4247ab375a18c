-- Queries of `runstead db check`, for runs with $1 < seq <= $2. Large values are not read.

-- name: integrity_latest_seq
SELECT coalesce(max(seq), 0) FROM runs

-- name: integrity_runs
SELECT {checked_columns} FROM {runs} WHERE seq > $1 ORDER BY seq LIMIT $2

-- name: integrity_logs
-- Events are found by the run's creation time: others are misplaced.
SELECT run_seq, count(*), min(event_id), max(event_id), sum(counted), sum(miscounted), sum(misplaced), sum(ends)
FROM (
  SELECT e.run_seq, e.event_id, (e.flags & 3 = 1)::integer AS counted,
    (e.sequence <> sum((e.flags & 3 = 1)::integer) OVER (PARTITION BY e.run_seq ORDER BY e.event_id))::integer AS miscounted,
    (e.run_created_at <> r.created_at)::integer AS misplaced,
    (e.type IN ('RUN_FINISHED', 'RUN_ERROR'))::integer AS ends
  FROM run_events AS e JOIN runs AS r ON r.seq = e.run_seq WHERE e.run_seq > $1 AND e.run_seq <= $2
) AS events
GROUP BY run_seq

-- name: integrity_ends
SELECT r.seq, e.type, CASE WHEN e.type = 'RUN_ERROR' AND octet_length(e.payload) <= 65536 THEN e.payload END
FROM runs AS r JOIN run_events AS e
  ON e.run_created_at = r.created_at AND e.run_seq = r.seq AND e.event_id = r.latest_event_id
WHERE r.seq > $1 AND r.seq <= $2

-- name: integrity_children
SELECT c.parent_seq, sum(1 + coalesce(f.descendants_total, 0)),
  sum((c.status IN ('pending', 'running', 'waiting'))::integer + coalesce(f.descendants_active, 0))
FROM runs AS c LEFT JOIN run_families AS f ON f.run_seq = c.seq
WHERE c.parent_seq > $1 AND c.parent_seq <= $2 GROUP BY c.parent_seq

-- name: integrity_parents
SELECT c.seq, p.seq, p.run_id, p.project_id, p.root_seq, p.root_run_id, p.path
FROM runs AS c JOIN runs AS p ON p.seq = c.parent_seq WHERE c.seq > $1 AND c.seq <= $2

-- name: integrity_attempts
SELECT run_seq, sum((outcome NOT IN ('parked', 'paused', 'dispatch_failed'))::integer), max(attempt) FROM run_attempts
WHERE run_seq > $1 AND run_seq <= $2 GROUP BY run_seq

-- name: integrity_keys
SELECT run_seq, max(event_id) FROM run_event_keys WHERE run_seq > $1 AND run_seq <= $2 GROUP BY run_seq

-- name: integrity_values
SELECT run_seq, count(*), max(event_id) FROM run_values WHERE run_seq > $1 AND run_seq <= $2 GROUP BY run_seq

-- name: integrity_signals
SELECT run_seq, count(*), max(number), max(event_id) FROM run_signals
WHERE run_seq > $1 AND run_seq <= $2 GROUP BY run_seq

-- name: integrity_waits
SELECT run_seq, count(*) FROM event_waits WHERE run_seq > $1 AND run_seq <= $2 GROUP BY run_seq

-- name: integrity_compensations
SELECT run_seq, count(*) FROM run_compensations
WHERE run_seq > $1 AND run_seq <= $2 AND child_seq IS NULL GROUP BY run_seq

-- name: integrity_uncancelled
-- Active descendants of cancelled runs that the cancel reaches: '~' stands before a compensation.
SELECT a.seq, count(*) FROM runs AS a
JOIN runs AS d ON d.root_seq = coalesce(a.root_seq, a.seq) AND d.parent_seq IS NOT NULL
WHERE a.seq > $1 AND a.seq <= $2 AND a.status = 'cancelled'
  AND coalesce((SELECT descendants_active FROM run_families WHERE run_seq = a.seq), 0) > 0
  AND d.status IN ('pending', 'running', 'waiting') AND strpos(d.path, '/' || a.seq || '/') > 0
  AND strpos(substr(d.path, strpos(d.path, '/' || a.seq || '/')), '~') = 0
GROUP BY a.seq

-- name: integrity_inputs
SELECT run_seq, id FROM input_requests WHERE run_seq > $1 AND run_seq <= $2 AND status = 'open' ORDER BY run_seq, id

-- name: integrity_gaps
-- A root's counter `logged` is the number of assigned positions.
SELECT l.root_seq, sum((l.start <> l.expected)::integer) + max((l.counted <> f.logged)::integer) FROM (
  SELECT root_seq, start,
    1 + coalesce(sum(last - first + 1) OVER before, 0) AS expected,
    sum(last - first + 1) OVER (PARTITION BY root_seq) AS counted
  FROM family_log WHERE root_seq > $1 AND root_seq <= $2
  WINDOW before AS (PARTITION BY root_seq ORDER BY start ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) AS l LEFT JOIN run_families AS f ON f.run_seq = l.root_seq
GROUP BY l.root_seq

-- name: integrity_placed
SELECT l.root_seq, sum(l.last - l.first + 1) FROM family_log AS l JOIN runs AS r ON r.seq = l.run_seq
WHERE l.root_seq > $1 AND l.root_seq <= $2 AND l.run_seq <> l.root_seq GROUP BY l.root_seq

-- name: integrity_stored
SELECT root_seq, sum(latest_event_id) FROM runs
WHERE root_seq > $1 AND root_seq <= $2 AND parent_seq IS NOT NULL GROUP BY root_seq

-- name: integrity_invalid_indexes
SELECT indexrelid::regclass::text, indrelid::regclass::text FROM pg_index JOIN pg_class ON oid = indrelid
WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace ORDER BY 1

-- name: stats_runs
SELECT status, count(*), sum(latest_event_id)::bigint, min(created_at) FILTER (WHERE status = 'pending') FROM runs GROUP BY status

-- name: stats_tables
-- Row counts of the last ANALYZE or vacuum.
SELECT c.relname::text, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid), i.inhparent::regclass::text
FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' ORDER BY c.relname

-- name: stats_bytes
-- Of the database, and whether this user may read the size of the WAL.
SELECT pg_database_size(current_database()), pg_has_role('pg_monitor', 'usage')

-- name: stats_wal_bytes
-- PostgreSQL checks this permission also for a branch that is not executed, so it is a statement of its own.
SELECT sum(size)::bigint FROM pg_ls_waldir()

-- name: check_message_without_run
SELECT id, conversation_id, run_seq FROM messages AS m
WHERE run_seq IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs WHERE seq = m.run_seq) LIMIT 100

-- name: check_message_without_conversation
SELECT id, conversation_id FROM messages AS m
WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = m.conversation_id) LIMIT 100

-- name: check_message_count
SELECT c.id, c.message_count, newest.seq FROM conversations AS c
CROSS JOIN LATERAL (SELECT max(seq) AS seq FROM messages AS m WHERE m.conversation_id = c.id) AS newest
WHERE c.message_count < newest.seq LIMIT 100

-- name: check_newest_message
SELECT c.id, c.current_node, newest.id FROM conversations AS c
LEFT JOIN LATERAL (
  SELECT m.id FROM messages AS m WHERE m.conversation_id = c.id ORDER BY m.seq DESC LIMIT 1
) AS newest ON true
WHERE c.current_node IS DISTINCT FROM newest.id LIMIT 100

-- name: check_input_without_conversation
SELECT id, conversation_id FROM input_requests AS i
WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = i.conversation_id) LIMIT 100

-- name: check_secrets_of_ended_run
SELECT s.request_id, s.run_seq FROM input_secrets AS s
JOIN runs AS r ON r.seq = s.run_seq WHERE r.status NOT IN ('pending', 'running', 'waiting') LIMIT 100

-- name: check_batch_count
SELECT * FROM (
  SELECT b.id, (SELECT coalesce(sum(c.pending + c.running + c.waiting), 0)::bigint FROM batch_counts AS c WHERE c.batch_id = b.id) AS counted,
    (SELECT count(*) FROM runs AS r WHERE r.batch_id = b.id AND r.project_id = b.project_id
      AND r.status IN ('pending', 'running', 'waiting')) AS active,
    b.completed_at
  FROM batches AS b
) AS checked WHERE counted <> active OR (active = 0) <> (completed_at IS NOT NULL) LIMIT 100
