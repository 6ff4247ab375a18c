-- The search index of runs: see `run_index.py`.

-- name: index_state
SELECT version, mark, noted, (SELECT coalesce(max(seq), 0) FROM runs),
  (SELECT coalesce(min(seq), 0) FROM runs WHERE seq >= mark)
FROM run_index

-- name: index_mark
SELECT mark, (SELECT min(block) FROM run_terms) FROM run_index

-- name: index_changes
SELECT id, seq, named FROM run_index_changes ORDER BY id LIMIT :limit

-- name: index_changed
SELECT DISTINCT seq FROM run_index_changes

-- name: index_block
SELECT term, runs FROM run_terms WHERE block = :block

-- name: index_version
UPDATE run_index SET version = version + 1 WHERE version = :version

-- name: note_changes
UPDATE run_index SET noted = :noted

-- name: move_mark
UPDATE run_index SET mark = :mark

-- name: drop_block
DELETE FROM run_terms WHERE block = :block

-- name: drop_changes
DELETE FROM run_index_changes WHERE id = ANY (:ids::bigint[])
