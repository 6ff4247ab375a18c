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
SELECT {project} FROM projects
WHERE $1::text[] IS NULL OR id = ANY ($1) ORDER BY created_at, id

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
WITH used AS MATERIALIZED (
  SELECT k.id, t.at FROM unnest($1::text[], $2::bigint[]) AS t (id, at) JOIN api_keys AS k ON k.id = t.id
  ORDER BY k.id FOR UPDATE OF k
)
UPDATE api_keys AS k SET last_used_at = greatest(coalesce(k.last_used_at, 0), used.at) FROM used WHERE k.id = used.id

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
