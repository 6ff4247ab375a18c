-- Budgets, what was spent of them in a period, and what each run has counted for them.
CREATE TABLE budgets (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL,
  name TEXT NOT NULL,
  scope_kind TEXT NOT NULL,
  scope_value TEXT,
  period TEXT NOT NULL,
  limit_tokens INTEGER,
  limit_micros INTEGER,
  on_reached TEXT NOT NULL,
  alert_at_percent INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  created_by TEXT,
  family_seq INTEGER NOT NULL DEFAULT 0,
  attention_at INTEGER,
  deleted_at INTEGER,
  version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX budgets_by_project ON budgets (project_id, family_seq);
CREATE INDEX budgets_of_families ON budgets (family_seq) WHERE family_seq > 0;
CREATE INDEX budgets_attention ON budgets (attention_at) WHERE attention_at IS NOT NULL;
CREATE TABLE budget_sums (
  budget_id TEXT NOT NULL,
  family_seq INTEGER NOT NULL,
  starts_at INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  cost_micros INTEGER NOT NULL,
  cost_rest INTEGER NOT NULL,
  raised_tokens INTEGER NOT NULL,
  raised_micros INTEGER NOT NULL,
  alerted_at INTEGER,
  reached_at INTEGER,
  PRIMARY KEY (budget_id, family_seq, starts_at)
) WITHOUT ROWID;
CREATE INDEX budget_sums_of_families ON budget_sums (family_seq) WHERE family_seq > 0;
CREATE TABLE run_spending (
  run_seq INTEGER PRIMARY KEY,
  tokens INTEGER NOT NULL,
  cost_micros INTEGER NOT NULL,
  cost_rest INTEGER NOT NULL,
  waits_for TEXT,
  approved TEXT NOT NULL
);
CREATE INDEX run_spending_waits ON run_spending (waits_for, run_seq) WHERE waits_for IS NOT NULL;
