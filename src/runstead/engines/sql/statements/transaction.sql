-- name: clock
-- postgres
SELECT {clock}

-- name: lock_names
-- postgres
-- All in one order, so that two transactions do not wait for each other.
SELECT pg_advisory_xact_lock(:space::integer, number)
FROM (SELECT DISTINCT hashtext(name) AS number FROM unnest(:names::text[]) AS named (name) ORDER BY number) AS numbers
