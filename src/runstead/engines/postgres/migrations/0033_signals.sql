-- Signals of runs: kept until the run takes them.
ALTER TABLE runs ADD COLUMN waiting_events bytea;
CREATE TABLE run_signals (
  run_seq bigint NOT NULL,
  number integer NOT NULL,
  id text NOT NULL,
  name text COLLATE "C" NOT NULL,
  payload bytea NOT NULL,
  created_at bigint NOT NULL,
  key text COLLATE "C",
  digest bytea NOT NULL,
  taken_at bigint,
  event_id integer,
  PRIMARY KEY (run_seq, number)
);
CREATE INDEX run_signals_untaken ON run_signals (run_seq, name, number) WHERE taken_at IS NULL;
CREATE UNIQUE INDEX run_signals_by_key ON run_signals (run_seq, key) WHERE key IS NOT NULL;
