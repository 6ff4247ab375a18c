-- What a run that is gone said of the message that it filled.
ALTER TABLE messages ADD COLUMN outcome bytea;

-- Runs that retention deleted, whose events are still in their partition: nobody finds them there. They leave with the
-- partition, in one piece.
CREATE TABLE run_leftovers (
  run_created_at bigint NOT NULL,
  run_seq bigint NOT NULL,
  PRIMARY KEY (run_created_at, run_seq)
);
