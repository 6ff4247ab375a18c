-- name: count_artifact_bytes
INSERT INTO artifact_bytes AS kept (project_id, bytes) VALUES (:project_id, :bytes)
ON CONFLICT (project_id) DO UPDATE SET bytes = kept.bytes + excluded.bytes

-- name: artifact_bytes
SELECT bytes FROM artifact_bytes WHERE project_id = :project_id

-- name: artifact_tombstones
-- Without the runs whose contents a retry still lists.
SELECT uid FROM discarded_artifacts
WHERE (
  SELECT run_seq FROM held_contents WHERE held_contents.uid = discarded_artifacts.uid ORDER BY uid, run_seq LIMIT 1
) IS NULL
ORDER BY uid LIMIT :limit

-- name: drop_artifact_tombstones
DELETE FROM discarded_artifacts WHERE uid = ANY (:uids::text[])
