-- name: discards
SELECT uid FROM discarded_artifacts ORDER BY uid LIMIT ?

-- name: drop_discard
DELETE FROM discarded_artifacts WHERE uid = ?
