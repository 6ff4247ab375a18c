-- name: lead
SELECT term, owner, expires_at FROM leadership

-- name: put_lead
INSERT INTO leadership (id, term, owner, expires_at) VALUES (1, ?1, ?2, ?3)
ON CONFLICT (id) DO UPDATE SET term = ?1, owner = ?2, expires_at = ?3
