-- The step that a retry goes on from, and the runs whose stored contents it lists: these are kept as long as it exists.
ALTER TABLE runs ADD COLUMN retry_from bytea;
CREATE TABLE held_contents (
  run_seq bigint NOT NULL,
  uid text COLLATE "C" NOT NULL,
  PRIMARY KEY (uid, run_seq)
);
CREATE INDEX held_contents_by_run ON held_contents USING hash (run_seq);
CREATE FUNCTION release_contents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM held_contents WHERE run_seq = OLD.seq;
  RETURN NULL;
END $$;
CREATE TRIGGER runs_release_contents AFTER DELETE ON runs
FOR EACH ROW WHEN (OLD.retry_from IS NOT NULL) EXECUTE FUNCTION release_contents();
