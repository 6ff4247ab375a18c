-- Times are milliseconds since 1970 UTC. Values that are JSON are its text, as BLOB.

CREATE TABLE projects (
  id TEXT PRIMARY KEY,
  slug TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT,
  personal_of TEXT
) WITHOUT ROWID;

CREATE TABLE members (
  project_id TEXT NOT NULL REFERENCES projects (id),
  user_id TEXT NOT NULL,
  role TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (project_id, user_id)
) WITHOUT ROWID;
CREATE INDEX members_by_user ON members (user_id);

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES projects (id),
  prefix TEXT NOT NULL,
  hash BLOB NOT NULL UNIQUE,
  scopes TEXT NOT NULL, -- separated by blanks
  created_at INTEGER NOT NULL,
  name TEXT,
  created_by TEXT,
  last_used_at INTEGER,
  expires_at INTEGER,
  revoked_at INTEGER
) WITHOUT ROWID;
CREATE INDEX api_keys_by_project ON api_keys (project_id, created_at);

CREATE TABLE workers (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES projects (id),
  implementation_kind TEXT NOT NULL,
  worker_key TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  display_name TEXT,
  implementation_display_name TEXT,
  metadata BLOB,
  last_heartbeat_at INTEGER,
  UNIQUE (project_id, implementation_kind, worker_key)
) WITHOUT ROWID;

CREATE TABLE worker_tokens (
  hash BLOB PRIMARY KEY,
  worker_id TEXT NOT NULL REFERENCES workers (id),
  number INTEGER NOT NULL -- grows with every token of the worker
) WITHOUT ROWID;
CREATE INDEX worker_tokens_by_worker ON worker_tokens (worker_id, number);

CREATE TABLE conversations (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL,
  type TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  personal INTEGER NOT NULL,
  status TEXT NOT NULL,
  title TEXT,
  summary TEXT,
  metadata BLOB,
  agent_id TEXT,
  message_count INTEGER NOT NULL,
  last_message_at INTEGER,
  created_by TEXT,
  archived_at INTEGER
) WITHOUT ROWID;

-- The assistant messages that agent runs fill. Their parts and status are folded from the run.
CREATE TABLE messages (
  conversation_id TEXT NOT NULL REFERENCES conversations (id),
  seq INTEGER NOT NULL,
  id TEXT NOT NULL UNIQUE,
  run_seq INTEGER NOT NULL,
  created_by TEXT,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (conversation_id, seq)
) WITHOUT ROWID;

-- Columns as the fields of runstead.core.runs.run.Run, large values last.
CREATE TABLE runs (
  uid TEXT NOT NULL,
  project_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  status TEXT NOT NULL,
  owner_kind TEXT NOT NULL,
  owner_id TEXT NOT NULL,
  root_run_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  target TEXT,
  parent_seq INTEGER,
  parent_run_id TEXT,
  root_seq INTEGER,
  path TEXT NOT NULL,
  descendants_total INTEGER NOT NULL,
  descendants_active INTEGER NOT NULL,
  retry_of TEXT,
  workflow_id TEXT,
  schedule_id TEXT,
  batch_id TEXT,
  runtime_target_kind TEXT,
  runtime_target_environment_id TEXT,
  runtime_target_branch_id TEXT,
  start_mode TEXT,
  trigger_kind TEXT,
  trigger_id TEXT,
  created_by TEXT,
  title TEXT,
  conversation_id TEXT,
  implementation_kind TEXT,
  worker_key TEXT,
  started_at INTEGER,
  completed_at INTEGER,
  duration_ms INTEGER,
  timeout_seconds INTEGER,
  backoff_limit INTEGER,
  exit_code INTEGER,
  available_at INTEGER,
  due_at INTEGER,
  attempt INTEGER NOT NULL,
  attempts_lost INTEGER NOT NULL,
  attempt_started_at INTEGER,
  lease_owner TEXT,
  lease_token TEXT,
  lease_ms INTEGER,
  lease_expires_at INTEGER,
  last_heartbeat_at INTEGER,
  waiting_reason TEXT,
  waiting_tool_call_id TEXT,
  waiting_tool_name TEXT,
  wait_expires_at INTEGER,
  resume_at INTEGER,
  cancel_requested_at INTEGER,
  cancel_reason TEXT,
  cancel_stopped_at INTEGER,
  latest_event_id INTEGER NOT NULL,
  latest_external_event_sequence INTEGER NOT NULL,
  version INTEGER NOT NULL,
  error BLOB,
  labels BLOB,
  agent BLOB,
  metadata BLOB,
  artifacts BLOB,
  config BLOB,
  input BLOB,
  output BLOB,
  logs TEXT,
  request_snapshot BLOB
);
CREATE UNIQUE INDEX runs_by_id ON runs (run_id, project_id);
CREATE INDEX runs_by_project ON runs (project_id, seq);
-- Most runs are completed: those are found by the index above.
CREATE INDEX runs_by_status ON runs (project_id, status, seq) WHERE status <> 'completed';
-- The queue: rows leave these indexes while no worker may claim them.
CREATE INDEX runs_queue_kind ON runs (project_id, kind, available_at, seq) WHERE available_at IS NOT NULL;
CREATE INDEX runs_queue_target ON runs (project_id, target, available_at, seq) WHERE available_at IS NOT NULL;
CREATE INDEX runs_queue_agent ON runs (project_id, implementation_kind, worker_key, available_at, seq)
  WHERE available_at IS NOT NULL AND implementation_kind IS NOT NULL;
-- The referee: rows are here only while a deadline runs.
CREATE INDEX runs_due ON runs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_by_parent ON runs (parent_seq) WHERE parent_seq IS NOT NULL;
CREATE INDEX runs_by_root ON runs (root_seq) WHERE parent_seq IS NOT NULL;
CREATE INDEX runs_by_batch ON runs (batch_id, seq) WHERE batch_id IS NOT NULL;
CREATE INDEX runs_by_schedule ON runs (schedule_id, seq) WHERE schedule_id IS NOT NULL;

-- id is the run's seq * 2^24 + event_id: one integer keeps a run's events together and in order, in the cheapest
-- tree that SQLite has. flags: 1 external, 2 private, 4 is_error, 8 delta.
CREATE TABLE run_events (
  id INTEGER PRIMARY KEY,
  type TEXT NOT NULL,
  payload BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  flags INTEGER NOT NULL,
  sequence INTEGER NOT NULL
);

-- Attempts that ended without a completion.
CREATE TABLE run_attempts (
  run_seq INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  lease_owner TEXT,
  started_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  error BLOB,
  PRIMARY KEY (run_seq, attempt)
) WITHOUT ROWID;

-- That a wait was answered, and a digest of with what.
CREATE TABLE run_receipts (
  run_seq INTEGER NOT NULL,
  key TEXT NOT NULL,
  digest BLOB NOT NULL,
  PRIMARY KEY (run_seq, key)
) WITHOUT ROWID;

CREATE TABLE worker_sessions (
  run_seq INTEGER NOT NULL,
  worker_id TEXT NOT NULL,
  id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  implementation_kind TEXT NOT NULL,
  session_key TEXT NOT NULL,
  status TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  metadata BLOB,
  ended_at INTEGER,
  PRIMARY KEY (run_seq, worker_id)
) WITHOUT ROWID;

-- Answers kept for idempotency keys.
CREATE TABLE seals (
  owner TEXT NOT NULL,
  key TEXT NOT NULL,
  digest BLOB NOT NULL,
  status INTEGER NOT NULL,
  body BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (owner, key)
);
CREATE INDEX seals_by_age ON seals (created_at);

-- One row that a health check writes.
CREATE TABLE pulse (at INTEGER NOT NULL);
INSERT INTO pulse (at) VALUES (0);
