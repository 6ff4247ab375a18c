-- Deleted runs whose artifacts are still to be removed: whichever way a run is deleted, it is noted with it.
CREATE TABLE discarded_artifacts (uid text COLLATE "C" PRIMARY KEY);
CREATE FUNCTION discard_artifacts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO discarded_artifacts (uid) VALUES (OLD.uid) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER runs_discard_artifacts AFTER DELETE ON runs
FOR EACH ROW WHEN (OLD.artifacts IS NOT NULL) EXECUTE FUNCTION discard_artifacts();
