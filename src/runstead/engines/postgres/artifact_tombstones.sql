-- name: discards
SELECT uid FROM discarded_artifacts ORDER BY uid LIMIT $1

-- name: drop_discards
DELETE FROM discarded_artifacts WHERE uid = ANY ($1::text[])
