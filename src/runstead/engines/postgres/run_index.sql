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

-- name: put_terms
INSERT INTO run_terms (block, term, runs) SELECT * FROM unnest($1::integer[], $2::bytea[], $3::bytea[])
ON CONFLICT (block, term) DO UPDATE SET runs = excluded.runs

-- name: index_writers
-- Transactions that may have drawn a seq or changed a run. They hold these locks until they end.
SELECT DISTINCT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND relation IN ('runs'::regclass, 'run_seq'::regclass) AND pid <> pg_backend_pid()
