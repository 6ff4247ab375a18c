-- name: count_saved_views
SELECT count(*) FROM saved_views WHERE project_id = :project_id AND owner = :owner AND name <> :name

-- name: put_saved_view
INSERT INTO saved_views ({saved_view}) VALUES ({:saved_view})
ON CONFLICT (project_id, owner, name) DO UPDATE SET filters = excluded.filters

-- name: saved_views
SELECT {saved_view} FROM saved_views WHERE project_id = :project_id AND owner = :owner
UNION ALL SELECT {saved_view} FROM saved_views WHERE project_id = :project_id AND owner = ''

-- name: delete_saved_view
DELETE FROM saved_views WHERE project_id = :project_id AND owner = :owner AND name = :name
