-- Queries of `runstead db check` and `runstead db stats` in this engine. Large values are not read.

-- name: integrity_runs
SELECT {checked_columns} FROM runs WHERE seq > ? ORDER BY seq LIMIT ?

-- name: integrity_orphaned_events
SELECT DISTINCT id >> 24 FROM run_events e
WHERE id >= (?1 + 1) << 24 AND id < (?2 + 1) << 24 AND NOT EXISTS (SELECT 1 FROM runs WHERE seq = e.id >> 24)

-- name: stats_tables
SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
ORDER BY name

-- name: stats_bytes
SELECT s.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name
WHERE d.aggregate GROUP BY s.tbl_name
