-- Which of the replicas leads: one row, once there was a leader. It is written every other second.
CREATE TABLE leadership (
  id integer PRIMARY KEY CHECK (id = 1),
  term bigint NOT NULL,
  owner text COLLATE "C",
  expires_at bigint NOT NULL
) WITH (fillfactor = 10);

-- Workers and push services that went silent, and when that was noticed. No index holds last_heartbeat_at: every
-- heartbeat would write it. Those that are not silent are few enough to be looked through.
ALTER TABLE workers ADD COLUMN silent_at bigint;
CREATE INDEX workers_heard ON workers (id) WHERE silent_at IS NULL;
ALTER TABLE push_services ADD COLUMN silent_at bigint;
CREATE INDEX push_services_heard ON push_services (id) WHERE silent_at IS NULL AND disabled_at IS NULL;
