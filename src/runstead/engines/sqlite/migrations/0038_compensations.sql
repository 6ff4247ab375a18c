-- Compensations that runs register, and cancelled runs with descendants that are cancelled later.
ALTER TABLE runs ADD COLUMN compensations INTEGER;
CREATE TABLE run_compensations (
  run_seq INTEGER NOT NULL,
  number INTEGER NOT NULL,
  target TEXT NOT NULL,
  title TEXT,
  config BLOB,
  input BLOB,
  key TEXT,
  digest BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  child_seq INTEGER,
  PRIMARY KEY (run_seq, number)
);
CREATE UNIQUE INDEX run_compensations_by_key ON run_compensations (run_seq, key) WHERE key IS NOT NULL;
CREATE TABLE family_cancels (run_seq INTEGER PRIMARY KEY);
INSERT INTO family_cancels SELECT seq FROM runs INDEXED BY runs_cancelling
WHERE status = 'cancelled' AND descendants_active > 0;
