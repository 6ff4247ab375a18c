-- name: artifact_tombstones
SELECT uid FROM discarded_artifacts ORDER BY uid LIMIT :limit

-- name: drop_artifact_tombstones
DELETE FROM discarded_artifacts WHERE uid = ANY (:uids::text[])
