-- name: wal_position
-- The end of the WAL that is on the disk covers every acknowledged commit, unless commits do not wait for the disk.
SELECT (CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn()
  ELSE pg_current_wal_flush_lsn() END)::text

-- name: standby_marker
INSERT INTO standby_markers (id, written_at) VALUES ($1, {clock}) ON CONFLICT (id) DO UPDATE SET written_at = {clock}

-- name: forget_standby_markers
DELETE FROM standby_markers WHERE written_at < {clock} - $1::bigint

-- name: standby_state
-- How many bytes of WAL up to the position are missing, and whether the standby has the history of that primary.
SELECT pg_is_in_recovery(), pg_wal_lsn_diff($1::text::pg_lsn, coalesce(pg_last_wal_replay_lsn(), '0/0'))::bigint,
  EXISTS (SELECT FROM standby_markers WHERE id = $2)
