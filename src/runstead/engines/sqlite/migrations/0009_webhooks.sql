-- Columns as the fields of runstead.core.webhooks.webhook.Webhook; events are separated by spaces.
CREATE TABLE webhooks (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL,
  url TEXT NOT NULL,
  events TEXT NOT NULL,
  secret TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  created_by TEXT,
  disabled_at INTEGER,
  disabled_reason TEXT,
  failing_since INTEGER
) WITHOUT ROWID;
CREATE INDEX webhooks_by_project ON webhooks (project_id, created_at, id);

-- Columns as the fields of runstead.core.webhooks.webhook.Delivery, the payload last. Each is written in the transaction of the change that it reports.
CREATE TABLE webhook_deliveries (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  webhook_id TEXT NOT NULL,
  project_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  run_id TEXT,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  status TEXT NOT NULL,
  next_attempt_at INTEGER,
  attempts INTEGER NOT NULL,
  last_status INTEGER,
  last_error TEXT,
  delivered_at INTEGER,
  duration_ms INTEGER,
  payload BLOB NOT NULL
);
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, seq);
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);
-- Rows are here only while they are to be tried.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_attempt_at, seq)
  WHERE next_attempt_at IS NOT NULL;

-- Columns as the fields of runstead.core.schedules.trigger.Trigger.
CREATE TABLE triggers (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL,
  name TEXT NOT NULL,
  target TEXT NOT NULL,
  token_hash BLOB NOT NULL UNIQUE,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  created_by TEXT,
  disabled_at INTEGER,
  secret TEXT,
  config BLOB
) WITHOUT ROWID;
CREATE INDEX triggers_by_project ON triggers (project_id, created_at, id);
