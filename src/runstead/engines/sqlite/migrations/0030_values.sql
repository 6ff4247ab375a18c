-- What a run's worker reports of it: its progress, and named values.
ALTER TABLE runs ADD COLUMN progress BLOB;
-- Call ids of the open approvals of a waiting run, if it has more than the one that it waits for.
ALTER TABLE runs ADD COLUMN open_approvals BLOB;
CREATE TABLE run_values (
  run_seq INTEGER NOT NULL,
  name TEXT NOT NULL,
  value BLOB NOT NULL,
  event_id INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (run_seq, name)
);
