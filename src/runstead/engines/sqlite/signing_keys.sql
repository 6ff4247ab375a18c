-- name: signing_keys
SELECT kid, algorithm, pem, created_at FROM signing_keys ORDER BY created_at, kid

-- name: add_signing_key
INSERT INTO signing_keys (kid, algorithm, pem, created_at) VALUES (?, ?, ?, ?)

-- name: drop_signing_keys
DELETE FROM signing_keys WHERE kid NOT IN
  (SELECT kid FROM signing_keys WHERE algorithm = ?1 ORDER BY created_at DESC, kid DESC LIMIT ?2) AND algorithm = ?1
