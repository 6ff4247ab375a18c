-- name: add_project
INSERT INTO projects ({project}) VALUES (?, ?, ?, ?, ?, ?)

-- name: project
SELECT {project} FROM projects WHERE id = ?1
UNION ALL SELECT {project} FROM projects WHERE slug = ?1 AND id <> ?1

-- name: project_by_slug
SELECT {project} FROM projects WHERE slug = ?

-- name: projects
SELECT {project} FROM projects ORDER BY created_at, id

-- name: projects_by_id
SELECT {project} FROM projects WHERE id IN (SELECT value FROM json_each(?)) ORDER BY created_at, id

-- name: any_project
SELECT 1 FROM projects LIMIT 1

-- name: add_key
INSERT INTO api_keys ({key})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: key_by_hash
SELECT {key} FROM api_keys WHERE hash = ?

-- name: keys
SELECT {key} FROM api_keys WHERE project_id = ? ORDER BY created_at, id

-- name: revoke_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE project_id = ? AND id = ?
RETURNING {key}

-- name: touch_key
UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?

-- name: put_member
INSERT INTO members ({member}) VALUES (?, ?, ?, ?)
ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role
RETURNING {member}

-- name: keep_member
INSERT INTO members ({member}) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: remove_member
DELETE FROM members WHERE project_id = ? AND user_id = ?

-- name: members
SELECT {member} FROM members WHERE project_id = ? ORDER BY created_at, user_id

-- name: roles
SELECT project_id, role FROM members WHERE user_id = ?
