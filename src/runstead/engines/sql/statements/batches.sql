-- name: batch
SELECT {batch} FROM {batches} WHERE b.id = :id

-- name: lock_batch
SELECT {batch} FROM {batches} WHERE b.id = ANY (ARRAY[:id::text]) AND b.project_id = :project_id ORDER BY b.id
FOR NO KEY UPDATE OF b

-- name: batches_page
SELECT {batch} FROM {batches} WHERE b.project_id = :project_id AND b.seq < :before ORDER BY b.seq DESC LIMIT :limit

-- name: unfinished_batches
SELECT {batch} FROM {batches}
WHERE b.id = ANY (ARRAY(
  SELECT id FROM (
    SELECT id FROM batches WHERE cancel_requested_at IS NOT NULL AND completed_at IS NULL ORDER BY seq LIMIT :limit
  ) AS cancelling
  UNION ALL
  SELECT id FROM (
    SELECT id FROM batches
    WHERE on_complete IS NOT NULL AND completed_at IS NOT NULL AND cancel_requested_at IS NULL
      AND followed_up_at IS NULL
    ORDER BY seq LIMIT :limit
  ) AS to_follow_up
))
ORDER BY b.seq LIMIT :limit

-- name: add_batch
-- postgres
INSERT INTO batches
  (id, project_id, created_at, name, created_by, on_complete, cancel_requested_at, cancel_reason, completed_at,
   followed_up_at)
VALUES (:id, :project_id, :created_at, :name, :created_by, :on_complete, :cancel_requested_at, :cancel_reason,
  :completed_at, :followed_up_at)
RETURNING seq
-- sqlite
INSERT INTO batches ({new_batch}) VALUES ({:new_batch}) RETURNING seq

-- name: change_batch
UPDATE batches SET cancel_requested_at = :cancel_requested_at, cancel_reason = :cancel_reason,
  followed_up_at = :followed_up_at
WHERE id = :id
