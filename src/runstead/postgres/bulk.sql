-- name: bulk_tables
-- (table, columns, their types, primary key, tables that it refers to, identity column)
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

-- name: bulk_made
SELECT name, applied_at FROM schema_migrations ORDER BY name

-- name: bulk_runs
SELECT count(*), max(seq), sum(version)::bigint, sum(latest_event_id)::bigint FROM runs

-- name: bulk_spoken
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
