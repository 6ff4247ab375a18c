-- name: signing_keys
SELECT {signing_key} FROM signing_keys ORDER BY created_at, kid

-- name: add_signing_key
INSERT INTO signing_keys ({signing_key}) VALUES ({:signing_key})

-- name: drop_signing_keys
DELETE FROM signing_keys WHERE algorithm = :algorithm AND kid NOT IN
  (SELECT kid FROM signing_keys WHERE algorithm = :algorithm ORDER BY created_at DESC, kid DESC LIMIT :kept)
