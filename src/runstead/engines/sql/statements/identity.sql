-- name: lock_project
-- Two changes of a project's members do not overlap.
SELECT 1 FROM projects WHERE id = :id FOR NO KEY UPDATE

-- name: add_project
INSERT INTO projects ({project}) VALUES ({:project})

-- name: count_projects
SELECT count(*) FROM projects WHERE created_by = :created_by AND personal_of IS NULL

-- name: project
SELECT {project} FROM projects WHERE id = :ref
UNION ALL SELECT {project} FROM projects WHERE slug = :ref AND id <> :ref

-- name: project_by_slug
SELECT {project} FROM projects WHERE slug = :slug

-- name: projects
SELECT {project} FROM projects ORDER BY created_at, id

-- name: projects_by_id
SELECT {project} FROM projects WHERE id = ANY (:ids::text[]) ORDER BY created_at, id

-- name: change_project
UPDATE projects SET require_attempt = :require_attempt, search_values_since = :search_values_since WHERE id = :id

-- name: fenced_projects
SELECT id FROM projects WHERE id = ANY (:ids::text[]) AND require_attempt

-- name: any_project
SELECT 1 FROM projects LIMIT 1

-- name: add_key
INSERT INTO api_keys ({key}) VALUES ({:key})

-- name: key_by_hash
SELECT {key} FROM api_keys WHERE hash = :hash

-- name: key
SELECT {key} FROM api_keys WHERE id = :id

-- name: key_of_project
SELECT {key} FROM api_keys WHERE id = ANY (ARRAY[:id::text]) AND project_id = :project_id ORDER BY id

-- name: keys
SELECT {key} FROM api_keys WHERE project_id = :project_id ORDER BY created_at, id

-- name: revoke_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, :now) WHERE project_id = :project_id AND id = :id
RETURNING {key}

-- name: count_keys
SELECT count(*) FROM api_keys WHERE project_id = :project_id AND revoked_at IS NULL

-- name: drop_revoked_keys
DELETE FROM api_keys WHERE id = ANY (ARRAY(
  SELECT id FROM api_keys WHERE project_id = :project_id AND revoked_at IS NOT NULL
  ORDER BY revoked_at DESC, id LIMIT 100 OFFSET :kept
))

-- name: touch_key
UPDATE api_keys SET last_used_at = greatest(coalesce(last_used_at, 0), :used_at) WHERE id = :id

-- name: put_member
INSERT INTO members ({member}) VALUES ({:member})
ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role
RETURNING {member}

-- name: member_counts
SELECT (SELECT count(*) FROM members WHERE project_id = :project_id) AS members,
  (SELECT count(*) FROM removed_members WHERE project_id = :project_id) AS removed,
  (SELECT role FROM members WHERE project_id = :project_id AND user_id = :user_id) AS role,
  EXISTS (SELECT 1 FROM members WHERE project_id = :project_id AND role = 'admin' AND user_id <> :user_id)
    OR EXISTS (
      SELECT 1 FROM api_keys WHERE project_id = :project_id AND revoked_at IS NULL AND scopes LIKE '%admin%'
        AND (expires_at IS NULL OR expires_at > :now)
    ) AS other_admins

-- name: keep_member
INSERT INTO members ({member}) VALUES ({:member}) ON CONFLICT DO NOTHING

-- name: remove_member
DELETE FROM members WHERE project_id = :project_id AND user_id = :user_id

-- name: add_removed_member
INSERT INTO removed_members ({removed_member}) VALUES ({:removed_member}) ON CONFLICT DO NOTHING

-- name: drop_removed_member
DELETE FROM removed_members WHERE project_id = :project_id AND user_id = :user_id

-- name: removed_from
SELECT project_id FROM removed_members WHERE user_id = :user_id AND project_id = ANY (:ids::text[])

-- name: member
SELECT {member} FROM members WHERE project_id = :project_id AND user_id = :user_id

-- name: members
SELECT {member} FROM members WHERE project_id = :project_id ORDER BY created_at, user_id

-- name: roles
SELECT project_id, role FROM members WHERE user_id = :user_id
