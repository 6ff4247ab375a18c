-- The index by which lists of runs are found; see runstead.engines.sql.run_index. The loop fills it, block by block.
CREATE TABLE run_index (
  version INTEGER NOT NULL,
  mark INTEGER NOT NULL, -- runs with a lower seq are indexed
  noted INTEGER NOT NULL -- changes of runs with a lower seq are noted
);
INSERT INTO run_index VALUES (0, 0, 0);

CREATE TABLE run_terms (
  block INTEGER NOT NULL,
  term BLOB NOT NULL,
  runs BLOB NOT NULL,
  PRIMARY KEY (block, term)
) WITHOUT ROWID;

-- Runs that are not in the index as they are now. named: more than their state may have changed.
CREATE TABLE run_index_changes (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  seq INTEGER NOT NULL,
  named INTEGER NOT NULL
);
CREATE TRIGGER run_index_named AFTER UPDATE OF title, labels, project_id ON runs
WHEN NEW.seq < (SELECT noted FROM run_index)
BEGIN
  INSERT INTO run_index_changes (seq, named) VALUES (NEW.seq, 1);
END;
CREATE TRIGGER run_index_ended AFTER UPDATE OF completed_at ON runs
WHEN NEW.seq < (SELECT noted FROM run_index)
BEGIN
  INSERT INTO run_index_changes (seq, named) VALUES (NEW.seq, 0);
END;
CREATE TRIGGER run_index_deleted AFTER DELETE ON runs
WHEN OLD.seq < (SELECT noted FROM run_index)
BEGIN
  INSERT INTO run_index_changes (seq, named) VALUES (OLD.seq, 0);
END;
