-- What a run's worker reports of it: its progress, and named values.
ALTER TABLE runs ADD COLUMN progress bytea;
-- Call ids of the open approvals of a waiting run, if it has more than the one that it waits for.
ALTER TABLE runs ADD COLUMN open_approvals bytea;
CREATE TABLE run_values (
  run_seq bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  value bytea NOT NULL,
  event_id integer NOT NULL,
  updated_at bigint NOT NULL,
  PRIMARY KEY (run_seq, name)
);
