-- The form of the bodies that a webhook receives, and how many of its deliveries were given up.
ALTER TABLE webhooks ADD COLUMN format text NOT NULL DEFAULT 'standard';
ALTER TABLE webhooks ADD COLUMN failed_deliveries bigint NOT NULL DEFAULT 0;
-- Columns as the fields of runstead.core.alerts.alert.Alert.
CREATE TABLE alerts (
  id text COLLATE "C" PRIMARY KEY,
  project_id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  kind text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  threshold double precision NOT NULL,
  target text COLLATE "C",
  schedule_id text COLLATE "C",
  window_seconds bigint NOT NULL,
  min_runs bigint NOT NULL,
  for_seconds bigint NOT NULL,
  repeat_seconds bigint NOT NULL,
  webhook_id text COLLATE "C",
  created_by text,
  disabled_at bigint,
  muted_at bigint,
  muted_until bigint,
  evaluate_at bigint,
  evaluated_at bigint,
  value double precision,
  firing_since bigint,
  changing_since bigint,
  notified_at bigint,
  counter bigint,
  increase bigint NOT NULL,
  increased_at bigint,
  version bigint NOT NULL
);
CREATE INDEX alerts_by_project ON alerts (project_id, created_at, id);
-- Rows are here only while they are enabled.
CREATE INDEX alerts_due ON alerts (evaluate_at, id) WHERE evaluate_at IS NOT NULL;
-- Columns as the fields of runstead.core.alerts.alert.Firing.
CREATE TABLE alert_firings (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text COLLATE "C" NOT NULL UNIQUE,
  alert_id text COLLATE "C" NOT NULL,
  project_id text COLLATE "C" NOT NULL,
  fired_at bigint NOT NULL,
  value double precision,
  muted boolean NOT NULL,
  resolved_at bigint,
  resolved_value double precision
);
CREATE INDEX alert_firings_by_alert ON alert_firings (alert_id, seq);
CREATE INDEX workers_silent ON workers (project_id, silent_at) WHERE silent_at IS NOT NULL;
