-- Columns as the fields of runstead.core.webhooks.webhook.Webhook; events are separated by spaces.
CREATE TABLE webhooks (
  id text COLLATE "C" PRIMARY KEY,
  project_id text COLLATE "C" NOT NULL,
  url text NOT NULL,
  events text NOT NULL,
  secret text NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  created_by text,
  disabled_at bigint,
  disabled_reason text,
  failing_since bigint
);
CREATE INDEX webhooks_by_project ON webhooks (project_id, created_at, id);

-- Columns as the fields of runstead.core.webhooks.webhook.Delivery, the payload last. Each is written in the transaction of the change that it reports.
-- No foreign key: a run's change must not wait for whoever changes a webhook.
CREATE TABLE webhook_deliveries (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text COLLATE "C" NOT NULL UNIQUE,
  webhook_id text COLLATE "C" NOT NULL,
  project_id text COLLATE "C" NOT NULL,
  event_type text COLLATE "C" NOT NULL,
  run_id text COLLATE "C",
  created_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  status text COLLATE "C" NOT NULL,
  next_attempt_at bigint,
  attempts bigint NOT NULL,
  last_status bigint,
  last_error text,
  delivered_at bigint,
  duration_ms bigint,
  payload bytea NOT NULL
);
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, seq);
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);
-- Rows are here only while they are to be tried.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_attempt_at, seq)
  WHERE next_attempt_at IS NOT NULL;

-- Columns as the fields of runstead.core.schedules.trigger.Trigger.
CREATE TABLE triggers (
  id text COLLATE "C" PRIMARY KEY,
  project_id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  target text NOT NULL,
  token_hash bytea NOT NULL UNIQUE,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  created_by text,
  disabled_at bigint,
  secret text,
  config bytea
);
CREATE INDEX triggers_by_project ON triggers (project_id, created_at, id);
