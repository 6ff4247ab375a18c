-- name: clock
-- postgres
SELECT {clock}

-- name: lock_names
-- postgres
-- All in one order, so that two transactions do not wait for each other.
SELECT pg_advisory_xact_lock(:space::integer, number)
FROM (SELECT DISTINCT hashtext(name) AS number FROM unnest(:names::text[]) AS named (name) ORDER BY number) AS numbers

-- name: transactions_under_way
-- postgres
SELECT l.virtualtransaction FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'virtualxid' AND l.pid <> pg_backend_pid()
  AND a.datname = current_database() AND a.application_name = 'runstead'
