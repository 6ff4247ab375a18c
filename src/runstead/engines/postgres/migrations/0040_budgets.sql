-- Budgets, what was spent of them in a period, and what each run has counted for them.
CREATE TABLE budgets (
  id text COLLATE "C" PRIMARY KEY,
  project_id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  scope_kind text NOT NULL,
  scope_value text,
  period text NOT NULL,
  limit_tokens bigint,
  limit_micros bigint,
  on_reached text NOT NULL,
  alert_at_percent integer NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  created_by text,
  family_seq bigint NOT NULL DEFAULT 0,
  attention_at bigint,
  deleted_at bigint,
  version bigint NOT NULL
);
CREATE INDEX budgets_by_project ON budgets (project_id, family_seq);
CREATE INDEX budgets_of_families ON budgets (family_seq) WHERE family_seq > 0;
CREATE INDEX budgets_attention ON budgets (attention_at) WHERE attention_at IS NOT NULL;
CREATE TABLE budget_sums (
  budget_id text COLLATE "C" NOT NULL,
  family_seq bigint NOT NULL,
  starts_at bigint NOT NULL,
  tokens bigint NOT NULL,
  cost_micros bigint NOT NULL,
  cost_rest integer NOT NULL,
  raised_tokens bigint NOT NULL,
  raised_micros bigint NOT NULL,
  alerted_at bigint,
  reached_at bigint,
  PRIMARY KEY (budget_id, family_seq, starts_at)
);
CREATE INDEX budget_sums_of_families ON budget_sums (family_seq) WHERE family_seq > 0;
CREATE TABLE run_spending (
  run_seq bigint PRIMARY KEY,
  tokens bigint NOT NULL,
  cost_micros bigint NOT NULL,
  cost_rest integer NOT NULL,
  waits_for text COLLATE "C",
  approved text NOT NULL
);
CREATE INDEX run_spending_waits ON run_spending (waits_for, run_seq) WHERE waits_for IS NOT NULL;
