-- name: seal
SELECT digest, status, body FROM seals WHERE owner = ? AND key = ?

-- name: add_seal
INSERT INTO seals (owner, key, digest, status, body, created_at) VALUES (?, ?, ?, ?, ?, ?)

-- name: forget_seals
DELETE FROM seals WHERE rowid IN (SELECT rowid FROM seals WHERE created_at < ? LIMIT ?)
