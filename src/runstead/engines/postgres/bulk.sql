-- name: bulk_tables
-- (table, columns, their types, primary key, referenced tables, identity column)
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum), array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum),
  ARRAY(
    SELECT k.attname::text FROM pg_index AS i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS u (number, place)
    JOIN pg_attribute AS k ON k.attrelid = c.oid AND k.attnum = u.number
    WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY u.place
  ),
  ARRAY(SELECT f.confrelid::regclass::text FROM pg_constraint AS f WHERE f.conrelid = c.oid AND f.contype = 'f'),
  max(a.attname::text) FILTER (WHERE a.attidentity <> '')
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
GROUP BY c.oid, c.relname ORDER BY c.relname

-- name: bulk_migrations
SELECT name, applied_at FROM schema_migrations ORDER BY name

-- name: bulk_runs
SELECT count(*), max(seq), sum(version)::bigint, sum(latest_event_id)::bigint FROM runs

-- name: bulk_conversations
SELECT count(*), max(updated_at), sum(message_count)::bigint FROM conversations

-- name: bulk_events
SELECT coalesce(sum(latest_event_id), 0)::bigint FROM runs

-- name: bulk_created
SELECT seq, created_at FROM runs WHERE seq = ANY ($1::bigint[])

-- name: bulk_mark
INSERT INTO copy_progress (name, mark) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET mark = excluded.mark

-- name: bulk_logged
INSERT INTO run_families (run_seq, descendants_total, descendants_active, logged)
SELECT root_seq, 0, 0, sum(last - first + 1) FROM family_log GROUP BY root_seq
ON CONFLICT (run_seq) DO UPDATE SET logged = excluded.logged

-- name: bulk_familied
UPDATE runs SET familied = true
WHERE parent_seq IS NULL AND NOT familied AND seq IN (SELECT run_seq FROM run_families)

-- name: bulk_spread
-- Each run is counted in the slot of its seq. Counts of deleted runs go to the first slot.
WITH counted AS (
  SELECT batch_id, min(started_at) AS started_at, sum(pending) AS pending, sum(running) AS running,
    sum(waiting) AS waiting, sum(completed) AS completed, sum(failed) AS failed, sum(cancelled) AS cancelled
  FROM batch_counts GROUP BY batch_id
), there AS (
  SELECT r.batch_id, (r.seq % $1::bigint)::smallint AS slot, count(*) FILTER (WHERE r.status = 'pending') AS pending,
    count(*) FILTER (WHERE r.status = 'running') AS running, count(*) FILTER (WHERE r.status = 'waiting') AS waiting,
    count(*) FILTER (WHERE r.status = 'completed') AS completed, count(*) FILTER (WHERE r.status = 'failed') AS failed,
    count(*) FILTER (WHERE r.status = 'cancelled') AS cancelled
  FROM runs AS r JOIN batches AS b ON b.id = r.batch_id AND b.project_id = r.project_id GROUP BY 1, 2
), gone AS (
  SELECT t.batch_id, 0::smallint AS slot, t.started_at, t.pending - coalesce(sum(h.pending), 0) AS pending,
    t.running - coalesce(sum(h.running), 0) AS running, t.waiting - coalesce(sum(h.waiting), 0) AS waiting,
    t.completed - coalesce(sum(h.completed), 0) AS completed, t.failed - coalesce(sum(h.failed), 0) AS failed,
    t.cancelled - coalesce(sum(h.cancelled), 0) AS cancelled
  FROM counted AS t LEFT JOIN there AS h USING (batch_id)
  GROUP BY t.batch_id, t.started_at, t.pending, t.running, t.waiting, t.completed, t.failed, t.cancelled
), spread AS (
  SELECT batch_id, slot, min(started_at) AS started_at, sum(pending) AS pending, sum(running) AS running,
    sum(waiting) AS waiting, sum(completed) AS completed, sum(failed) AS failed, sum(cancelled) AS cancelled
  FROM (
    SELECT batch_id, slot, NULL::bigint AS started_at, pending, running, waiting, completed, failed, cancelled FROM there
    UNION ALL
    SELECT batch_id, slot, started_at, pending, running, waiting, completed, failed, cancelled FROM gone
  ) AS parts GROUP BY batch_id, slot
)
INSERT INTO batch_counts AS c
  (batch_id, slot, started_at, pending, running, waiting, completed, failed, cancelled)
SELECT batch_id, slot, started_at, pending, running, waiting, completed, failed, cancelled FROM spread
ON CONFLICT (batch_id, slot) DO UPDATE SET
  started_at = excluded.started_at, pending = excluded.pending, running = excluded.running, waiting = excluded.waiting,
  completed = excluded.completed, failed = excluded.failed, cancelled = excluded.cancelled

-- name: bulk_open_slots
UPDATE batches AS b SET open_slots =
  (SELECT count(*) FROM batch_counts AS c WHERE c.batch_id = b.id AND c.pending + c.running + c.waiting > 0)
