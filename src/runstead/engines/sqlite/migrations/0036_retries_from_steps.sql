-- The step that a retry goes on from, and the runs whose stored contents it lists: these are kept as long as it exists.
ALTER TABLE runs ADD COLUMN retry_from BLOB;
CREATE TABLE held_contents (
  run_seq INTEGER NOT NULL,
  uid TEXT NOT NULL,
  PRIMARY KEY (uid, run_seq)
) WITHOUT ROWID;
CREATE INDEX held_contents_by_run ON held_contents (run_seq);
CREATE TRIGGER runs_release_contents AFTER DELETE ON runs WHEN OLD.retry_from IS NOT NULL
BEGIN
  DELETE FROM held_contents WHERE run_seq = OLD.seq;
END;
