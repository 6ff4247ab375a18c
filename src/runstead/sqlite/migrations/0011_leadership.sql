-- Which of the processes that serve this file leads: one row, once there was a leader.
CREATE TABLE leadership (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  term INTEGER NOT NULL,
  owner TEXT,
  expires_at INTEGER NOT NULL
);
