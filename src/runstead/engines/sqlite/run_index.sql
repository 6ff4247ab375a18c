-- name: index_facts
-- As one row, because each row costs a switch between threads.
SELECT json_group_array(json_array({indexed_text})) FROM (SELECT * FROM runs WHERE seq >= ? AND seq < ? ORDER BY seq) AS runs

-- name: index_facts_of
SELECT json_group_array(json_array({indexed_text})) FROM runs WHERE seq IN (SELECT value FROM json_each(?))

-- name: index_span
SELECT block, term, runs FROM json_each(?) AS b CROSS JOIN run_terms ON block = b.value AND term >= ? AND term < ?
