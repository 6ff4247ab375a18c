-- name: idempotency_record
SELECT digest, status, body FROM seals WHERE owner = ? AND key = ?

-- name: add_idempotency_record
INSERT INTO seals (owner, key, digest, status, body, created_at) VALUES (?, ?, ?, ?, ?, ?)
