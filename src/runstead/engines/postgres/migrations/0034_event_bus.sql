-- The event bus of a project: its published events, the waits that they end, and the triggers that they call.
CREATE TABLE bus_events (
  project_id text COLLATE "C" NOT NULL,
  event_id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  data bytea,
  digest bytea NOT NULL,
  occurred_at bigint,
  created_at bigint NOT NULL,
  kept_until bigint NOT NULL,
  last_wait bigint NOT NULL,
  due_at bigint,
  resumed bigint NOT NULL,
  started bigint NOT NULL,
  PRIMARY KEY (project_id, event_id)
);
CREATE INDEX bus_events_due ON bus_events (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX bus_events_expired ON bus_events (kept_until) WHERE due_at IS NULL;
CREATE TABLE event_waits (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  project_id text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  path text COLLATE "C" NOT NULL,
  digest bytea NOT NULL,
  run_seq bigint NOT NULL,
  run_id text NOT NULL,
  tool_call_id text,
  match bytea
);
CREATE INDEX event_waits_by_term ON event_waits (project_id, name, path, digest, number);
CREATE INDEX event_waits_by_run ON event_waits (run_seq);
ALTER TABLE triggers ADD COLUMN event_name text COLLATE "C";
ALTER TABLE triggers ADD COLUMN event_match bytea;
CREATE INDEX triggers_by_event ON triggers (project_id, event_name) WHERE event_name IS NOT NULL;
-- Runs that wait already.
INSERT INTO event_waits (project_id, name, path, digest, run_seq, run_id, tool_call_id)
SELECT r.project_id, e ->> 'name', '', '', r.seq, r.run_id, e ->> 'tool_call_id'
FROM runs AS r, jsonb_array_elements(convert_from(r.waiting_events, 'UTF8')::jsonb) AS e
WHERE r.waiting_events IS NOT NULL;
