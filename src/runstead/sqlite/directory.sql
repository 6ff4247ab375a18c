-- name: add_project
INSERT INTO projects (id, slug, name, created_at, created_by, personal_of) VALUES (?, ?, ?, ?, ?, ?)

-- name: project
SELECT id, slug, name, created_at, created_by, personal_of FROM projects WHERE id = ?1
UNION ALL SELECT id, slug, name, created_at, created_by, personal_of FROM projects WHERE slug = ?1 AND id <> ?1

-- name: project_by_slug
SELECT id, slug, name, created_at, created_by, personal_of FROM projects WHERE slug = ?

-- name: projects
SELECT id, slug, name, created_at, created_by, personal_of FROM projects
WHERE ?1 IS NULL OR id IN (SELECT value FROM json_each(?1)) ORDER BY created_at, id

-- name: any_project
SELECT 1 FROM projects LIMIT 1

-- name: add_key
INSERT INTO api_keys
  (id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: key_by_hash
SELECT id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at
FROM api_keys WHERE hash = ?

-- name: keys
SELECT id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at
FROM api_keys WHERE project_id = ? ORDER BY created_at, id

-- name: revoke_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE project_id = ? AND id = ?
RETURNING id, project_id, prefix, hash, scopes, created_at, name, created_by, last_used_at, expires_at, revoked_at

-- name: touch_key
UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?

-- name: put_member
INSERT INTO members (project_id, user_id, role, created_at) VALUES (?, ?, ?, ?)
ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role
RETURNING project_id, user_id, role, created_at

-- name: keep_member
INSERT INTO members (project_id, user_id, role, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: remove_member
DELETE FROM members WHERE project_id = ? AND user_id = ?

-- name: members
SELECT project_id, user_id, role, created_at FROM members WHERE project_id = ? ORDER BY created_at, user_id

-- name: roles
SELECT project_id, role FROM members WHERE user_id = ?
