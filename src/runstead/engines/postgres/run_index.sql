-- name: index_state
SELECT version, mark, noted, (SELECT coalesce(max(seq), 0) FROM runs),
  (SELECT coalesce(min(seq), 0) FROM runs WHERE seq >= mark)
FROM run_index

-- name: index_mark
SELECT mark, (SELECT min(block) FROM run_terms) FROM run_index

-- name: index_changes
SELECT id, seq, named FROM run_index_changes ORDER BY id LIMIT $1

-- name: index_changed
SELECT DISTINCT seq FROM run_index_changes

-- name: index_facts
SELECT {indexed} FROM runs WHERE seq >= $1 AND seq < $2 ORDER BY seq

-- name: index_facts_of
SELECT {indexed} FROM runs WHERE seq = ANY ($1::bigint[])

-- name: index_terms
SELECT t.block, t.term, t.runs FROM unnest($1::integer[]) AS b (block) CROSS JOIN unnest($2::bytea[]) AS w (term)
CROSS JOIN LATERAL (SELECT block, term, runs FROM run_terms WHERE block = b.block AND term = w.term LIMIT 1) AS t

-- name: index_span
SELECT t.block, t.term, t.runs FROM unnest($1::integer[]) AS b (block)
CROSS JOIN LATERAL (SELECT block, term, runs FROM run_terms WHERE block = b.block AND term >= $2 AND term < $3 OFFSET 0) AS t

-- name: index_block
SELECT term, runs FROM run_terms WHERE block = $1

-- name: index_version
UPDATE run_index SET version = version + 1 WHERE version = $1

-- name: note_changes
UPDATE run_index SET noted = $1

-- name: move_mark
UPDATE run_index SET mark = $1

-- name: put_terms
INSERT INTO run_terms (block, term, runs) SELECT * FROM unnest($1::integer[], $2::bytea[], $3::bytea[])
ON CONFLICT (block, term) DO UPDATE SET runs = excluded.runs

-- name: drop_block
DELETE FROM run_terms WHERE block = $1

-- name: drop_changes
DELETE FROM run_index_changes WHERE id = ANY ($1::bigint[])

-- name: index_writers
-- Transactions that may have drawn a seq or changed a run. They hold these locks until they end.
SELECT DISTINCT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND relation IN ('runs'::regclass, 'run_seq'::regclass) AND pid <> pg_backend_pid()
