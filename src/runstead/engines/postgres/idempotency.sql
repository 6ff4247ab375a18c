-- name: idempotency_records
SELECT s.owner, s.key, s.digest, s.status, s.body
FROM unnest($1::text[], $2::text[]) AS k (owner, key)
CROSS JOIN LATERAL (SELECT * FROM seals WHERE owner = k.owner AND key = k.key LIMIT 1) AS s

-- name: add_idempotency_records
INSERT INTO seals (owner, key, digest, status, body, created_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bytea[], $6::bigint[])
  AS made (owner, key, digest, status, body, created_at)
ORDER BY owner COLLATE "C", key COLLATE "C"
