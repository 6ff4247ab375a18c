-- Which of the replicas leads: one row, once there was a leader. It is written every other second.
CREATE TABLE leadership (
  id integer PRIMARY KEY CHECK (id = 1),
  term bigint NOT NULL,
  owner text COLLATE "C",
  expires_at bigint NOT NULL
) WITH (fillfactor = 10);
