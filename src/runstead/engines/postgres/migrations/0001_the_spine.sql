-- Times are milliseconds since 1970 UTC. Values that are JSON are its text, as bytea. Texts compare byte by byte, as they
-- do in the other engines.

CREATE TABLE projects (
  id text COLLATE "C" PRIMARY KEY,
  slug text COLLATE "C" NOT NULL UNIQUE,
  name text NOT NULL,
  created_at bigint NOT NULL,
  created_by text,
  personal_of text
);

CREATE TABLE members (
  project_id text COLLATE "C" NOT NULL REFERENCES projects (id),
  user_id text COLLATE "C" NOT NULL,
  role text NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (project_id, user_id)
);
CREATE INDEX members_by_user ON members (user_id);

CREATE TABLE api_keys (
  id text COLLATE "C" PRIMARY KEY,
  project_id text COLLATE "C" NOT NULL REFERENCES projects (id),
  prefix text NOT NULL,
  hash bytea NOT NULL UNIQUE,
  scopes text NOT NULL, -- separated by blanks
  created_at bigint NOT NULL,
  name text,
  created_by text,
  last_used_at bigint,
  expires_at bigint,
  revoked_at bigint
);
CREATE INDEX api_keys_by_project ON api_keys (project_id, created_at);

CREATE TABLE workers (
  id text COLLATE "C" PRIMARY KEY,
  project_id text COLLATE "C" NOT NULL REFERENCES projects (id),
  implementation_kind text COLLATE "C" NOT NULL,
  worker_key text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  display_name text,
  implementation_display_name text,
  metadata bytea,
  last_heartbeat_at bigint,
  UNIQUE (project_id, implementation_kind, worker_key)
);

CREATE TABLE worker_tokens (
  hash bytea PRIMARY KEY,
  worker_id text COLLATE "C" NOT NULL REFERENCES workers (id),
  number bigint NOT NULL -- grows with every token of the worker
);
CREATE INDEX worker_tokens_by_worker ON worker_tokens (worker_id, number);

CREATE TABLE conversations (
  id text COLLATE "C" PRIMARY KEY,
  project_id text COLLATE "C" NOT NULL,
  type text NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  personal boolean NOT NULL,
  status text NOT NULL,
  title text,
  summary text,
  metadata bytea,
  agent_id text,
  message_count bigint NOT NULL,
  last_message_at bigint,
  created_by text,
  archived_at bigint,
  current_node text,
  seq bigint GENERATED ALWAYS AS IDENTITY -- the order of creation
);
CREATE INDEX conversations_by_project ON conversations (project_id, seq) WHERE status <> 'deleted';

-- Messages of users, and the assistant messages that agent runs fill: the parts and status of those are folded from the
-- run of run_seq.
CREATE TABLE messages (
  id text COLLATE "C" NOT NULL UNIQUE,
  conversation_id text COLLATE "C" NOT NULL REFERENCES conversations (id),
  role text NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  seq bigint NOT NULL,
  run_seq bigint,
  parent_id text COLLATE "C",
  created_by text,
  idempotency_key text COLLATE "C",
  digest bytea, -- of what was sent under the key
  metadata bytea,
  parts bytea,
  PRIMARY KEY (conversation_id, seq)
);
CREATE UNIQUE INDEX messages_by_key ON messages (conversation_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Forms that runs ask somebody to fill in, each with its latest response. Values of secret fields are never here.
CREATE TABLE input_requests (
  seq bigint GENERATED ALWAYS AS IDENTITY,
  id text COLLATE "C" PRIMARY KEY,
  conversation_id text COLLATE "C" NOT NULL,
  run_seq bigint NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  tool_call_id text COLLATE "C" NOT NULL,
  requested_responder_type text NOT NULL,
  title text NOT NULL,
  fields bytea NOT NULL,
  created_at bigint NOT NULL,
  salt bytea NOT NULL,
  status text NOT NULL,
  description text,
  metadata bytea,
  created_by text,
  expires_at bigint,
  ended_at bigint,
  response_id text,
  actor_type text,
  actor_id text,
  response_values bytea,
  withheld bytea,
  digest bytea,
  responded_at bigint,
  UNIQUE (run_seq, tool_call_id)
);
CREATE INDEX input_requests_by_conversation ON input_requests (conversation_id, seq);

-- Columns as the fields of runstead.core.schedules.schedule.Schedule, large values last.
CREATE TABLE schedules (
  id text COLLATE "C" PRIMARY KEY,
  project_id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  target_kind text NOT NULL,
  target_id text NOT NULL,
  schedule text NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  timezone text NOT NULL,
  status text NOT NULL,
  conversation_mode text,
  conversation_id text,
  definition_source text NOT NULL,
  source_trigger_id text,
  source_path text,
  source_hash text,
  runtime_target_kind text NOT NULL,
  runtime_target_environment_id text,
  runtime_target_branch_id text,
  timeout_seconds bigint NOT NULL,
  backoff_limit bigint NOT NULL,
  concurrency_policy text NOT NULL,
  max_runs bigint,
  run_count bigint NOT NULL,
  last_scheduled_at bigint,
  last_successful_at bigint,
  last_failure_at bigint,
  last_failure_code text,
  last_failure_message text,
  last_failure_run_id text,
  paused_reason text,
  paused_at bigint,
  completed_at bigint,
  created_by text,
  version bigint NOT NULL,
  integration_requirements bytea NOT NULL,
  config bytea NOT NULL
);
CREATE INDEX schedules_by_project ON schedules (project_id, created_at, id);

-- Programs to which started agent runs are pushed. What is silent or disabled stays, and gets none.
CREATE TABLE push_services (
  id text COLLATE "C" PRIMARY KEY,
  registrant text COLLATE "C" NOT NULL, -- whose service_key it is: a project, or a user for a global one
  service_key text COLLATE "C" NOT NULL,
  service_name text NOT NULL,
  scope_kind text NOT NULL,
  base_url text NOT NULL,
  invoke_url text NOT NULL,
  project_id text,
  agent_id text,
  version text,
  runtime text,
  region text,
  capabilities bytea,
  metadata bytea,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  last_heartbeat_at bigint NOT NULL,
  disabled_at bigint,
  UNIQUE (registrant, service_key)
);

-- The projects whose runs a service may get.
CREATE TABLE push_reach (
  project_id text COLLATE "C" NOT NULL,
  service_id text COLLATE "C" NOT NULL REFERENCES push_services (id),
  PRIMARY KEY (project_id, service_id)
);
CREATE INDEX push_reach_by_service ON push_reach (service_id);

-- Private keys, for servers that have no file of them.
CREATE TABLE signing_keys (
  kid text COLLATE "C" PRIMARY KEY,
  algorithm text NOT NULL,
  pem text NOT NULL,
  created_at bigint NOT NULL
);

-- The order of creation. Taken before a run is written, so that a parent always has a lower number than its children:
-- locks are taken in this order.
CREATE SEQUENCE run_seq;

-- Columns as the fields of runstead.core.runs.run.Run, without the two counters of run_families, and one more. Pages keep room, so that an
-- update that touches no index stays on its page.
CREATE TABLE runs (
  uid text COLLATE "C" NOT NULL,
  project_id text COLLATE "C" NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  kind text COLLATE "C" NOT NULL,
  status text COLLATE "C" NOT NULL,
  owner_kind text COLLATE "C" NOT NULL,
  owner_id text COLLATE "C" NOT NULL,
  root_run_id text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  seq bigint PRIMARY KEY,
  target text COLLATE "C",
  parent_seq bigint,
  parent_run_id text COLLATE "C",
  root_seq bigint NOT NULL,
  path text COLLATE "C" NOT NULL,
  retry_of text COLLATE "C",
  workflow_id text COLLATE "C",
  schedule_id text COLLATE "C",
  batch_id text COLLATE "C",
  runtime_target_kind text COLLATE "C",
  runtime_target_environment_id text COLLATE "C",
  runtime_target_branch_id text COLLATE "C",
  start_mode text COLLATE "C",
  trigger_kind text COLLATE "C",
  trigger_id text COLLATE "C",
  created_by text COLLATE "C",
  title text COLLATE "C",
  conversation_id text COLLATE "C",
  implementation_kind text COLLATE "C",
  worker_key text COLLATE "C",
  push_service_id text COLLATE "C",
  push_failures bigint NOT NULL,
  started_at bigint,
  completed_at bigint,
  duration_ms bigint,
  timeout_seconds bigint,
  backoff_limit bigint,
  exit_code bigint,
  available_at bigint,
  due_at bigint,
  attempt bigint NOT NULL,
  attempts_lost bigint NOT NULL,
  attempt_started_at bigint,
  lease_owner text COLLATE "C",
  lease_token text COLLATE "C",
  lease_ms bigint,
  lease_expires_at bigint,
  last_heartbeat_at bigint,
  waiting_reason text COLLATE "C",
  waiting_tool_call_id text COLLATE "C",
  waiting_tool_name text COLLATE "C",
  wait_expires_at bigint,
  resume_at bigint,
  waiting_input_id text COLLATE "C",
  paused_available_at bigint,
  cancel_requested_at bigint,
  cancel_reason text COLLATE "C",
  cancel_stopped_at bigint,
  latest_event_id bigint NOT NULL,
  latest_external_event_sequence bigint NOT NULL,
  version bigint NOT NULL,
  error bytea,
  labels bytea,
  agent bytea,
  metadata bytea,
  artifacts bytea,
  config bytea,
  input bytea,
  output bytea,
  logs text COLLATE "C",
  request_snapshot bytea,
  familied boolean NOT NULL DEFAULT false -- a root that has, or had, a child: its events have places in family_log
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE UNIQUE INDEX runs_by_id ON runs (run_id, project_id);
CREATE INDEX runs_by_project ON runs (project_id, seq);
-- Most runs are completed: those are found by the index above.
CREATE INDEX runs_by_status ON runs (project_id, status, seq) WHERE status <> 'completed';
-- The queue: rows leave these indexes while no worker may claim them.
CREATE INDEX runs_queue_kind ON runs (project_id, kind, available_at, seq) WHERE available_at IS NOT NULL;
CREATE INDEX runs_queue_target ON runs (project_id, target, kind, available_at, seq) WHERE available_at IS NOT NULL;
CREATE INDEX runs_queue_agent ON runs (project_id, implementation_kind, worker_key, available_at, seq)
  WHERE available_at IS NOT NULL AND implementation_kind IS NOT NULL;
-- The referee: rows are here only while a deadline runs.
CREATE INDEX runs_due ON runs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_by_parent ON runs (parent_seq, seq) WHERE parent_seq IS NOT NULL;
CREATE INDEX runs_by_root ON runs (root_seq, seq) WHERE parent_seq IS NOT NULL;
CREATE INDEX runs_by_batch ON runs (batch_id, seq) WHERE batch_id IS NOT NULL;
CREATE INDEX runs_by_schedule ON runs (schedule_id, seq) WHERE schedule_id IS NOT NULL;
-- Rows are here only while they wait to be pushed, or to be stopped at their service.
CREATE INDEX runs_push ON runs (available_at, seq) WHERE push_service_id IS NOT NULL AND available_at IS NOT NULL;
CREATE INDEX runs_push_cancelled ON runs (cancel_requested_at, seq)
  WHERE push_service_id IS NOT NULL AND cancel_requested_at IS NOT NULL AND cancel_stopped_at IS NULL;

-- How many runs are below a run. Apart from the run, so that the ends of its children do not wait for its lock; rows are
-- here only for runs that have children. `logged`: how many events of a root's family have places in family_log; who
-- gives more holds this row until its commit, so places are given in the order in which events become visible.
CREATE TABLE run_families (
  run_seq bigint PRIMARY KEY,
  descendants_total bigint NOT NULL,
  descendants_active bigint NOT NULL,
  logged bigint NOT NULL
) WITH (fillfactor = 50);

-- The order of a family's events: in the family of root_seq, the events first..last of a run are those at the
-- positions start, start + 1, … A root that is not `familied` has no rows: its positions are its event ids.
CREATE TABLE family_log (
  root_seq bigint NOT NULL,
  start bigint NOT NULL,
  run_seq bigint NOT NULL,
  first integer NOT NULL,
  last integer NOT NULL,
  PRIMARY KEY (root_seq, start)
);

-- Partitions are months of the run's creation, not of the event's: a run's log stays in one partition, is found there
-- with one look, and leaves in one piece. Each partition has its own key (run_seq, event_id).
-- flags: 1 external, 2 private, 4 is_error, 8 delta.
CREATE TABLE run_events (
  run_created_at bigint NOT NULL,
  run_seq bigint NOT NULL,
  created_at bigint NOT NULL,
  event_id integer NOT NULL,
  sequence integer NOT NULL,
  flags smallint NOT NULL,
  type text COLLATE "C" NOT NULL,
  payload bytea NOT NULL
) PARTITION BY RANGE (run_created_at);
CREATE TABLE run_events_other PARTITION OF run_events DEFAULT;
ALTER TABLE run_events_other ADD PRIMARY KEY (run_seq, event_id);

-- Attempts that ended without a completion.
CREATE TABLE run_attempts (
  run_seq bigint NOT NULL,
  attempt bigint NOT NULL,
  lease_owner text,
  started_at bigint NOT NULL,
  ended_at bigint NOT NULL,
  outcome text NOT NULL,
  error bytea,
  PRIMARY KEY (run_seq, attempt)
);

-- That a wait was answered, and a digest of with what.
CREATE TABLE run_receipts (
  run_seq bigint NOT NULL,
  key text COLLATE "C" NOT NULL,
  digest bytea NOT NULL,
  PRIMARY KEY (run_seq, key)
);

-- Events that came with an idempotency_key, and a digest of what they said.
CREATE TABLE run_event_keys (
  run_seq bigint NOT NULL,
  key text COLLATE "C" NOT NULL,
  event_id integer NOT NULL,
  digest bytea NOT NULL,
  PRIMARY KEY (run_seq, key)
);

CREATE TABLE worker_sessions (
  run_seq bigint NOT NULL,
  worker_id text COLLATE "C" NOT NULL,
  id text NOT NULL,
  run_id text NOT NULL,
  implementation_kind text NOT NULL,
  session_key text NOT NULL,
  status text NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  metadata bytea,
  ended_at bigint,
  PRIMARY KEY (run_seq, worker_id)
);

-- Answers kept for idempotency keys.
CREATE TABLE seals (
  owner text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  digest bytea NOT NULL,
  status bigint NOT NULL,
  body bytea NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (owner, key)
);
CREATE INDEX seals_by_age ON seals (created_at);

-- One row that a health check writes.
CREATE TABLE pulse (at bigint NOT NULL) WITH (fillfactor = 10);
INSERT INTO pulse (at) VALUES (0);
