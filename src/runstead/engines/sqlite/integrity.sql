-- Queries of `runstead db check`, for runs with ?1 < seq <= ?2. Large values are not read.

-- name: integrity_latest_seq
SELECT coalesce(max(seq), 0) FROM runs

-- name: integrity_runs
SELECT {checked_columns} FROM runs WHERE seq > ? ORDER BY seq LIMIT ?

-- name: integrity_logs
SELECT seq, count(*), min(event_id), max(event_id), sum(counted), sum(miscounted), 0, sum(type IN ('RUN_FINISHED', 'RUN_ERROR'))
FROM (
  SELECT id >> 24 AS seq, id & 16777215 AS event_id, type, flags & 3 = 1 AS counted,
    sequence <> sum(flags & 3 = 1) OVER (PARTITION BY id >> 24 ORDER BY id) AS miscounted
  FROM run_events WHERE id >= (?1 + 1) << 24 AND id < (?2 + 1) << 24
)
GROUP BY seq

-- name: integrity_ends
-- Flag 16: compressed, so it is large.
SELECT r.seq, e.type, CASE WHEN e.type = 'RUN_ERROR' AND e.flags & 16 = 0 AND length(e.payload) <= 65536 THEN e.payload END
FROM runs r JOIN run_events e ON e.id = (r.seq << 24) + r.latest_event_id WHERE r.seq > ?1 AND r.seq <= ?2

-- name: integrity_children
SELECT parent_seq, sum(1 + descendants_total),
  sum((status IN ('pending', 'running', 'waiting')) + descendants_active)
FROM runs WHERE parent_seq > ?1 AND parent_seq <= ?2 GROUP BY parent_seq

-- name: integrity_parents
SELECT c.seq, p.seq, p.run_id, p.project_id, coalesce(p.root_seq, p.seq), p.root_run_id, p.path
FROM runs c JOIN runs p ON p.seq = c.parent_seq WHERE c.seq > ?1 AND c.seq <= ?2

-- name: integrity_attempts
SELECT run_seq, sum(outcome NOT IN ('parked', 'paused', 'dispatch_failed')), max(attempt) FROM run_attempts
WHERE run_seq > ?1 AND run_seq <= ?2 GROUP BY run_seq

-- name: integrity_keys
SELECT run_seq, max(event_id) FROM run_event_keys WHERE run_seq > ?1 AND run_seq <= ?2 GROUP BY run_seq

-- name: integrity_values
SELECT run_seq, count(*), max(event_id) FROM run_values WHERE run_seq > ?1 AND run_seq <= ?2 GROUP BY run_seq

-- name: integrity_signals
SELECT run_seq, count(*), max(number), max(event_id) FROM run_signals
WHERE run_seq > ?1 AND run_seq <= ?2 GROUP BY run_seq

-- name: integrity_waits
SELECT run_seq, count(*) FROM event_waits WHERE run_seq > ?1 AND run_seq <= ?2 GROUP BY run_seq

-- name: integrity_compensations
SELECT run_seq, count(*) FROM run_compensations
WHERE run_seq > ?1 AND run_seq <= ?2 AND child_seq IS NULL GROUP BY run_seq

-- name: integrity_uncancelled
-- Active descendants of cancelled runs that the cancel reaches: '~' stands before a compensation.
SELECT a.seq, count(*) FROM runs AS a
JOIN runs AS d ON d.root_seq = coalesce(a.root_seq, a.seq) AND d.parent_seq IS NOT NULL
WHERE a.seq > ?1 AND a.seq <= ?2 AND a.status = 'cancelled'
  AND a.descendants_active > 0
  AND d.status IN ('pending', 'running', 'waiting') AND instr(d.path, '/' || a.seq || '/') > 0
  AND instr(substr(d.path, instr(d.path, '/' || a.seq || '/')), '~') = 0
GROUP BY a.seq

-- name: integrity_inputs
SELECT run_seq, id FROM input_requests WHERE run_seq > ?1 AND run_seq <= ?2 AND status = 'open' ORDER BY run_seq, id

-- name: integrity_gaps
SELECT root_seq, sum(start <> expected) FROM (
  SELECT root_seq, start,
    1 + coalesce(sum(last - first + 1) OVER (
      PARTITION BY root_seq ORDER BY start ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS expected
  FROM family_log WHERE root_seq > ?1 AND root_seq <= ?2
)
GROUP BY root_seq

-- name: integrity_placed
SELECT l.root_seq, sum(l.last - l.first + 1) FROM family_log l JOIN runs r ON r.seq = l.run_seq
WHERE l.root_seq > ?1 AND l.root_seq <= ?2 AND l.run_seq <> l.root_seq GROUP BY l.root_seq

-- name: integrity_stored
SELECT root_seq, sum(latest_event_id) FROM runs
WHERE root_seq > ?1 AND root_seq <= ?2 AND parent_seq IS NOT NULL GROUP BY root_seq

-- name: integrity_orphaned_events
SELECT DISTINCT id >> 24 FROM run_events e
WHERE id >= (?1 + 1) << 24 AND id < (?2 + 1) << 24 AND NOT EXISTS (SELECT 1 FROM runs WHERE seq = e.id >> 24)

-- name: stats_runs
SELECT status, count(*), sum(latest_event_id), min(iif(status = 'pending', created_at, NULL)) FROM runs GROUP BY status

-- name: stats_tables
SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
ORDER BY name

-- name: stats_bytes
SELECT s.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name
WHERE d.aggregate GROUP BY s.tbl_name

-- name: check_message_without_run
SELECT id, conversation_id, run_seq FROM messages m
WHERE run_seq IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs WHERE seq = m.run_seq) LIMIT 100

-- name: check_message_without_conversation
SELECT id, conversation_id FROM messages m
WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = m.conversation_id) LIMIT 100

-- name: check_message_count
SELECT c.id, c.message_count, (SELECT max(seq) FROM messages m WHERE m.conversation_id = c.id) FROM conversations c
WHERE c.message_count < (SELECT max(seq) FROM messages m WHERE m.conversation_id = c.id) LIMIT 100

-- name: check_newest_message
SELECT * FROM (
  SELECT c.id, c.current_node,
    (SELECT m.id FROM messages m WHERE m.conversation_id = c.id ORDER BY m.seq DESC LIMIT 1) AS newest
  FROM conversations c
) WHERE current_node IS NOT newest LIMIT 100

-- name: check_input_without_conversation
SELECT id, conversation_id FROM input_requests i
WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = i.conversation_id) LIMIT 100

-- name: check_secrets_of_ended_run
SELECT s.request_id, s.run_seq FROM input_secrets AS s
JOIN runs AS r ON r.seq = s.run_seq WHERE r.status NOT IN ('pending', 'running', 'waiting') LIMIT 100

-- name: check_batch_count
SELECT * FROM (
  SELECT b.id, b.pending + b.running + b.waiting AS counted,
    (SELECT count(*) FROM runs AS r WHERE r.batch_id = b.id AND r.project_id = b.project_id
      AND r.status IN ('pending', 'running', 'waiting')) AS active,
    b.completed_at
  FROM batches AS b
) AS checked WHERE counted <> active OR (active = 0) <> (completed_at IS NOT NULL) LIMIT 100
