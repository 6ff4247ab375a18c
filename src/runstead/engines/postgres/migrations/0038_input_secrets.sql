-- Encrypted values of the secret fields of input requests: kept until their run ends.
CREATE TABLE input_secrets (
  request_id text COLLATE "C" PRIMARY KEY,
  run_seq bigint NOT NULL,
  secrets text NOT NULL
);
CREATE INDEX input_secrets_by_run ON input_secrets (run_seq);
