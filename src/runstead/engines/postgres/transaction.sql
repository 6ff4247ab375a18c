-- name: moment
SELECT {clock}, pg_current_xact_id()::text

-- name: lock_names
-- Until the commit, for what no row stands for. In one order.
SELECT pg_advisory_xact_lock($1::integer, number)
FROM (SELECT DISTINCT hashtext(name) AS number FROM unnest($2::text[]) AS named (name) ORDER BY number) AS numbers

-- name: pulse
UPDATE pulse SET at = $1
