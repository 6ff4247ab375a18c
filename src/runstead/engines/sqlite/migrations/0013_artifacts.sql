-- Deleted runs whose artifacts are still to be removed: whichever way a run is deleted, it is noted with it.
CREATE TABLE discarded_artifacts (uid TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TRIGGER runs_discard_artifacts AFTER DELETE ON runs WHEN OLD.artifacts IS NOT NULL
BEGIN
  INSERT OR IGNORE INTO discarded_artifacts (uid) VALUES (OLD.uid);
END;
