-- name: moment
SELECT {clock}, pg_current_xact_id()::text

-- name: pulse
UPDATE pulse SET at = $1
