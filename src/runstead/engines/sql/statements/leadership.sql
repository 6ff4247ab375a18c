-- name: lead
SELECT {clock} AS now, coalesce(term, 0) AS term, owner, coalesce(expires_at, 0) AS expires_at
FROM (SELECT 1 AS id) AS one LEFT JOIN leadership USING (id)

-- name: put_lead
-- Writes only where the row is still as it was read. A first election finds no row.
INSERT INTO leadership AS l (id, {lead}) SELECT 1, :term::bigint, :owner::text, :expires_at::bigint
WHERE :old_term::bigint = 0 OR EXISTS (SELECT 1 FROM leadership WHERE id = 1)
ON CONFLICT (id) DO UPDATE SET term = excluded.term, owner = excluded.owner, expires_at = excluded.expires_at
WHERE l.term = :old_term AND l.owner IS NOT DISTINCT FROM :old_owner::text AND l.expires_at = :old_expires_at::bigint
