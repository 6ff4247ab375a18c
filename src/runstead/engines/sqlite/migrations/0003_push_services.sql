-- Programs to which started agent runs are pushed. What is silent or disabled stays, and gets none.
CREATE TABLE push_services (
  id TEXT PRIMARY KEY,
  registrant TEXT NOT NULL, -- whose service_key it is: a project, or a user for a global one
  service_key TEXT NOT NULL,
  service_name TEXT NOT NULL,
  scope_kind TEXT NOT NULL,
  base_url TEXT NOT NULL,
  invoke_url TEXT NOT NULL,
  project_id TEXT,
  agent_id TEXT,
  version TEXT,
  runtime TEXT,
  region TEXT,
  capabilities BLOB,
  metadata BLOB,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  last_heartbeat_at INTEGER NOT NULL,
  disabled_at INTEGER,
  UNIQUE (registrant, service_key)
) WITHOUT ROWID;

-- The projects whose runs a service may get.
CREATE TABLE push_reach (
  project_id TEXT NOT NULL,
  service_id TEXT NOT NULL REFERENCES push_services (id),
  PRIMARY KEY (project_id, service_id)
) WITHOUT ROWID;
CREATE INDEX push_reach_by_service ON push_reach (service_id);

-- Private keys, for servers that have no file of them.
CREATE TABLE signing_keys (
  kid TEXT PRIMARY KEY,
  algorithm TEXT NOT NULL,
  pem TEXT NOT NULL,
  created_at INTEGER NOT NULL
) WITHOUT ROWID;

ALTER TABLE runs ADD COLUMN push_service_id TEXT;
ALTER TABLE runs ADD COLUMN push_failures INTEGER NOT NULL DEFAULT 0;
-- Rows are here only while they wait to be pushed, or to be stopped at their service.
CREATE INDEX runs_push ON runs (available_at, seq) WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL;
CREATE INDEX runs_push_cancelled ON runs (cancel_requested_at, seq)
  WHERE push_service_id IS NOT NULL AND cancel_requested_at IS NOT NULL AND cancel_stopped_at IS NULL;
