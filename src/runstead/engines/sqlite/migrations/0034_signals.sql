-- Signals of runs: kept until the run takes them.
ALTER TABLE runs ADD COLUMN waiting_events BLOB;
CREATE TABLE run_signals (
  run_seq INTEGER NOT NULL,
  number INTEGER NOT NULL,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  payload BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  key TEXT,
  digest BLOB NOT NULL,
  taken_at INTEGER,
  event_id INTEGER,
  PRIMARY KEY (run_seq, number)
);
CREATE INDEX run_signals_untaken ON run_signals (run_seq, name, number) WHERE taken_at IS NULL;
CREATE UNIQUE INDEX run_signals_by_key ON run_signals (run_seq, key) WHERE key IS NOT NULL;
