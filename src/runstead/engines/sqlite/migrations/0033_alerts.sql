-- The form of the bodies that a webhook receives, and how many of its deliveries were given up.
ALTER TABLE webhooks ADD COLUMN format TEXT NOT NULL DEFAULT 'standard';
ALTER TABLE webhooks ADD COLUMN failed_deliveries INTEGER NOT NULL DEFAULT 0;
-- Columns as the fields of runstead.core.alerts.alert.Alert.
CREATE TABLE alerts (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  threshold REAL NOT NULL,
  target TEXT,
  schedule_id TEXT,
  window_seconds INTEGER NOT NULL,
  min_runs INTEGER NOT NULL,
  for_seconds INTEGER NOT NULL,
  repeat_seconds INTEGER NOT NULL,
  webhook_id TEXT,
  created_by TEXT,
  disabled_at INTEGER,
  muted_at INTEGER,
  muted_until INTEGER,
  evaluate_at INTEGER,
  evaluated_at INTEGER,
  value REAL,
  firing_since INTEGER,
  changing_since INTEGER,
  notified_at INTEGER,
  counter INTEGER,
  increase INTEGER NOT NULL,
  increased_at INTEGER,
  version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX alerts_by_project ON alerts (project_id, created_at, id);
-- Rows are here only while they are enabled.
CREATE INDEX alerts_due ON alerts (evaluate_at, id) WHERE evaluate_at IS NOT NULL;
-- Columns as the fields of runstead.core.alerts.alert.Firing.
CREATE TABLE alert_firings (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  alert_id TEXT NOT NULL,
  project_id TEXT NOT NULL,
  fired_at INTEGER NOT NULL,
  value REAL,
  muted INTEGER NOT NULL,
  resolved_at INTEGER,
  resolved_value REAL
);
CREATE INDEX alert_firings_by_alert ON alert_firings (alert_id, seq);
CREATE INDEX workers_silent ON workers (project_id, silent_at) WHERE silent_at IS NOT NULL;
