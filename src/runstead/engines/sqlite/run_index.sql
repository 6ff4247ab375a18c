-- name: index_state
SELECT version, mark, noted, (SELECT coalesce(max(seq), 0) FROM runs),
  (SELECT coalesce(min(seq), 0) FROM runs WHERE seq >= mark)
FROM run_index

-- name: index_mark
SELECT mark, (SELECT min(block) FROM run_terms) FROM run_index

-- name: index_changes
SELECT id, seq, named FROM run_index_changes ORDER BY id LIMIT ?

-- name: index_changed
SELECT DISTINCT seq FROM run_index_changes

-- name: index_facts
-- As one row, because each row costs a switch between threads.
SELECT json_group_array(json_array({indexed_text})) FROM (SELECT * FROM runs WHERE seq >= ? AND seq < ? ORDER BY seq) AS runs

-- name: index_facts_of
SELECT json_group_array(json_array({indexed_text})) FROM runs WHERE seq IN (SELECT value FROM json_each(?))

-- name: index_span
SELECT block, term, runs FROM json_each(?) AS b CROSS JOIN run_terms ON block = b.value AND term >= ? AND term < ?

-- name: index_block
SELECT term, runs FROM run_terms WHERE block = ?

-- name: index_version
UPDATE run_index SET version = version + 1 WHERE version = ?

-- name: note_changes
UPDATE run_index SET noted = ?

-- name: move_mark
UPDATE run_index SET mark = ?

-- name: drop_block
DELETE FROM run_terms WHERE block = ?

-- name: drop_changes
DELETE FROM run_index_changes WHERE id IN (SELECT value FROM json_each(?))
