-- Compensations that runs register.
ALTER TABLE runs ADD COLUMN compensations bigint;
CREATE TABLE run_compensations (
  run_seq bigint NOT NULL,
  number integer NOT NULL,
  target text COLLATE "C" NOT NULL,
  title text COLLATE "C",
  config bytea,
  input bytea,
  key text COLLATE "C",
  digest bytea NOT NULL,
  created_at bigint NOT NULL,
  child_seq bigint,
  PRIMARY KEY (run_seq, number)
);
CREATE UNIQUE INDEX run_compensations_by_key ON run_compensations (run_seq, key) WHERE key IS NOT NULL;
-- SQLite's table of cancelled runs whose descendants are cancelled later: always empty here, so that stores can be copied.
CREATE TABLE family_cancels (run_seq bigint PRIMARY KEY);
