-- Which of the processes that serve this file leads: one row, once there was a leader.
CREATE TABLE leadership (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  term INTEGER NOT NULL,
  owner TEXT,
  expires_at INTEGER NOT NULL
);

-- Workers and push services that went silent, and when that was noticed.
ALTER TABLE workers ADD COLUMN silent_at INTEGER;
CREATE INDEX workers_heard ON workers (last_heartbeat_at) WHERE silent_at IS NULL;
ALTER TABLE push_services ADD COLUMN silent_at INTEGER;
