-- The event bus of a project: its published events, the waits that they end, and the triggers that they call.
CREATE TABLE bus_events (
  project_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  name TEXT NOT NULL,
  data BLOB,
  digest BLOB NOT NULL,
  occurred_at INTEGER,
  created_at INTEGER NOT NULL,
  kept_until INTEGER NOT NULL,
  last_wait INTEGER NOT NULL,
  due_at INTEGER,
  resumed INTEGER NOT NULL,
  started INTEGER NOT NULL,
  PRIMARY KEY (project_id, event_id)
);
CREATE INDEX bus_events_due ON bus_events (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX bus_events_expired ON bus_events (kept_until) WHERE due_at IS NULL;
CREATE TABLE event_waits (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  project_id TEXT NOT NULL,
  name TEXT NOT NULL,
  path TEXT NOT NULL,
  digest BLOB NOT NULL,
  run_seq INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  tool_call_id TEXT,
  match BLOB
);
CREATE INDEX event_waits_by_term ON event_waits (project_id, name, path, digest, number);
CREATE INDEX event_waits_by_run ON event_waits (run_seq);
ALTER TABLE triggers ADD COLUMN event_name TEXT;
ALTER TABLE triggers ADD COLUMN event_match BLOB;
CREATE INDEX triggers_by_event ON triggers (project_id, event_name) WHERE event_name IS NOT NULL;
-- Runs that wait already.
INSERT INTO event_waits (project_id, name, path, digest, run_seq, run_id, tool_call_id)
SELECT r.project_id, json_extract(e.value, '$.name'), '', x'', r.seq, r.run_id, json_extract(e.value, '$.tool_call_id')
FROM runs r, json_each(CAST(r.waiting_events AS TEXT)) e WHERE r.waiting_events IS NOT NULL;
