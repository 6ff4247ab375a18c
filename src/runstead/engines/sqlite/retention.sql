-- name: keep_message
UPDATE messages SET run_seq = NULL, parts = ?3, outcome = ?4 WHERE conversation_id = ?1 AND run_seq = ?2

-- name: count_fewer
UPDATE runs SET descendants_total = descendants_total - ?2 WHERE seq = ?1
