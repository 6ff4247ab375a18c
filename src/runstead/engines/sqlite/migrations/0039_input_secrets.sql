-- Encrypted values of the secret fields of input requests: kept until their run ends.
CREATE TABLE input_secrets (
  request_id TEXT PRIMARY KEY,
  run_seq INTEGER NOT NULL,
  secrets TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX input_secrets_by_run ON input_secrets (run_seq);
