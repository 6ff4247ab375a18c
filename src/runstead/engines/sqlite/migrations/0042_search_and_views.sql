-- search_values_since: the inputs and outputs of runs that were created after this time (ms) are searched. NULL: none are.
ALTER TABLE projects ADD COLUMN search_values_since INTEGER;
-- The index of runs is built again, with the terms of labels and errors.
DELETE FROM run_terms;
DELETE FROM run_index_changes;
UPDATE run_index SET version = version + 1, mark = 0, noted = 0;
-- Named filters of the list of runs: of a caller (its identity), or shared by the project (owner '').
CREATE TABLE saved_views (
  project_id TEXT NOT NULL,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  filters TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (project_id, owner, name)
);
