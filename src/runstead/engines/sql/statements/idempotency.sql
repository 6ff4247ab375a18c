-- name: forget_idempotency_records
DELETE FROM seals WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM seals WHERE created_at < :before ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
))
