-- Entries are numbered in the order of their commits, so that a fold deletes the entries that it read as one range of ids.
-- Ids repeat once the table was empty. The number of folds never repeats: it shows a fold whether another one came between.
CREATE TABLE rollup_entries_in_order (
  id INTEGER PRIMARY KEY,
  run_seq INTEGER NOT NULL,
  version INTEGER NOT NULL,
  action TEXT NOT NULL,
  project_id TEXT NOT NULL,
  facts BLOB NOT NULL
);
INSERT INTO rollup_entries_in_order (run_seq, version, action, project_id, facts)
SELECT run_seq, version, action, project_id, facts FROM rollup_entries ORDER BY run_seq, version, action;
DROP TABLE rollup_entries;
ALTER TABLE rollup_entries_in_order RENAME TO rollup_entries;
CREATE TABLE rollup_folds (folds INTEGER NOT NULL);
INSERT INTO rollup_folds VALUES (0);
