-- An update that changes no column of an index, nor of an index's condition, writes no index (HOT). runs_due_at had `version`
-- in its condition, which every update changes; what holds of every run is now said of a column that never changes.
DROP INDEX runs_due_at;
CREATE INDEX runs_due_at ON runs (due_at, seq) WHERE due_at IS NOT NULL AND created_at >= 0;
