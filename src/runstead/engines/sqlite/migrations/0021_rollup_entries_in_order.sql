-- Entries stand in the order of their commits, so that those that were read for a fold are dropped as a stretch. Ids come
-- again once all are dropped; the number of folds does not, and tells a fold whether another came between.
CREATE TABLE rollup_entries_in_order (
  id INTEGER PRIMARY KEY,
  action TEXT NOT NULL,
  project_id TEXT NOT NULL,
  facts BLOB NOT NULL
);
INSERT INTO rollup_entries_in_order (action, project_id, facts)
SELECT action, project_id, facts FROM rollup_entries ORDER BY run_seq, version, action;
DROP TABLE rollup_entries;
ALTER TABLE rollup_entries_in_order RENAME TO rollup_entries;
CREATE TABLE rollup_folds (folds INTEGER NOT NULL);
INSERT INTO rollup_folds VALUES (0);
