-- name: lead
SELECT {clock}, term, owner, expires_at FROM (VALUES (1)) AS one (id) LEFT JOIN leadership USING (id)

-- name: put_lead
INSERT INTO leadership AS l (id, term, owner, expires_at) SELECT 1, $1::bigint, $2::text, $3::bigint
WHERE $4::bigint = 0 OR EXISTS (SELECT 1 FROM leadership)
ON CONFLICT (id) DO UPDATE SET term = excluded.term, owner = excluded.owner, expires_at = excluded.expires_at
WHERE l.term = $4 AND l.owner IS NOT DISTINCT FROM $5::text AND l.expires_at = $6::bigint RETURNING true
