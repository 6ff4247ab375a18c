-- name: lock_project
SELECT 1 FROM projects WHERE id = $1 FOR NO KEY UPDATE

-- name: add_project
INSERT INTO projects ({project}) VALUES ($1, $2, $3, $4, $5, $6)

-- name: project
SELECT {project} FROM projects WHERE id = $1
UNION ALL SELECT {project} FROM projects WHERE slug = $1 AND id <> $1

-- name: project_by_slug
SELECT {project} FROM projects WHERE slug = $1

-- name: projects
SELECT {project} FROM projects ORDER BY created_at, id

-- name: projects_by_id
SELECT {project} FROM projects WHERE id = ANY ($1::text[]) ORDER BY created_at, id

-- name: any_project
SELECT 1 FROM projects LIMIT 1

-- name: add_key
INSERT INTO api_keys ({key})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- name: key_by_hash
SELECT {key} FROM api_keys WHERE hash = $1

-- name: keys
SELECT {key} FROM api_keys WHERE project_id = $1 ORDER BY created_at, id

-- name: revoke_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, $1) WHERE project_id = $2 AND id = $3
RETURNING {key}

-- name: touch_keys
WITH used AS MATERIALIZED (SELECT id FROM api_keys WHERE id = ANY ($1::text[]) ORDER BY id FOR UPDATE)
UPDATE api_keys SET last_used_at = greatest(coalesce(last_used_at, 0), ($2::bigint[])[array_position($1, id)])
WHERE id = ANY (ARRAY(SELECT id FROM used))

-- name: put_member
INSERT INTO members ({member}) VALUES ($1, $2, $3, $4)
ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role
RETURNING {member}

-- name: keep_member
INSERT INTO members ({member}) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING

-- name: remove_member
DELETE FROM members WHERE project_id = $1 AND user_id = $2 RETURNING 1

-- name: members
SELECT {member} FROM members WHERE project_id = $1 ORDER BY created_at, user_id

-- name: roles
SELECT project_id, role FROM members WHERE user_id = $1
