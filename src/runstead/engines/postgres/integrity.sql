-- Queries of `runstead db check` and `runstead db stats` in this engine. Large values are not read.

-- name: integrity_runs
SELECT {checked_columns} FROM {runs} WHERE seq > $1 ORDER BY seq LIMIT $2

-- name: integrity_invalid_indexes
SELECT indexrelid::regclass::text, indrelid::regclass::text FROM pg_index JOIN pg_class ON oid = indrelid
WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace ORDER BY 1

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
