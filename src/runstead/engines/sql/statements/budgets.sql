-- name: count_budgets
SELECT count(*) FROM budgets
WHERE project_id = ANY (ARRAY[:project_id::text]) AND family_seq = ANY (ARRAY[0::bigint]) AND deleted_at IS NULL

-- name: any_budget
SELECT 1 FROM budgets WHERE project_id = ANY (ARRAY[:project_id::text]) ORDER BY project_id, family_seq LIMIT 1

-- name: add_budget
INSERT INTO budgets ({budget}) VALUES ({:budget})

-- name: budget | lock_budget
SELECT {budget} FROM budgets WHERE id = ANY (ARRAY[:id::text]) AND project_id = :project_id AND deleted_at IS NULL
ORDER BY id{| FOR UPDATE}

-- name: budgets_of
-- The budgets of a project that may count runs: those of the project (family 0), and those of families.
SELECT {budget} FROM budgets
WHERE project_id = ANY (ARRAY[:project_id::text]) AND family_seq = ANY (:families::bigint[]) AND deleted_at IS NULL

-- name: budget_sums
SELECT {budget_sum} FROM budget_sums
WHERE budget_id = ANY (:ids::text[]) AND family_seq = ANY (:families::bigint[]) AND starts_at = ANY (:starts::bigint[])

-- name: run_spendings
SELECT {run_spending} FROM run_spending WHERE run_seq = ANY (:seqs::bigint[])

-- name: facts_of_runs
SELECT seq, target, created_by, schedule_id, labels FROM runs WHERE seq = ANY (:seqs::bigint[])

-- name: put_budget_sum
INSERT INTO budget_sums ({budget_sum}) VALUES ({:budget_sum})
ON CONFLICT (budget_id, family_seq, starts_at) DO UPDATE SET tokens = excluded.tokens,
  cost_micros = excluded.cost_micros, cost_rest = excluded.cost_rest, raised_tokens = excluded.raised_tokens,
  raised_micros = excluded.raised_micros, alerted_at = excluded.alerted_at, reached_at = excluded.reached_at

-- name: drop_budget_sums
-- Sums of days and months that began before `:before`.
DELETE FROM budget_sums
WHERE budget_id = ANY (ARRAY[:budget_id::text]) AND family_seq = ANY (ARRAY[0::bigint]) AND starts_at < :before

-- name: put_run_spending
INSERT INTO run_spending ({run_spending}) VALUES ({:run_spending})
ON CONFLICT (run_seq) DO UPDATE SET tokens = excluded.tokens, cost_micros = excluded.cost_micros,
  cost_rest = excluded.cost_rest, waits_for = excluded.waits_for, approved = excluded.approved

-- name: mark_budget
UPDATE budgets SET attention_at = :now WHERE id = ANY (ARRAY[:id::text])

-- name: budgets_with_attention
SELECT {budget} FROM budgets WHERE attention_at >= 0 ORDER BY attention_at LIMIT :limit

-- name: budget_waits
SELECT run_seq AS seq FROM run_spending
WHERE waits_for = ANY (ARRAY[:id::text]) AND run_seq > :after ORDER BY waits_for, run_seq LIMIT :limit

-- name: runs_that_wait
SELECT seq, project_id, run_id FROM runs
WHERE seq = ANY (:seqs::bigint[]) AND status = 'waiting' AND waiting_tool_call_id = :call ORDER BY seq

-- name: budget_settled
-- Only if nothing changed since it was read.
UPDATE budgets SET attention_at = NULL WHERE id = ANY (ARRAY[:id::text]) AND coalesce(attention_at, 0) = :attention_at

-- name: purge_budget
DELETE FROM budgets WHERE id = ANY (ARRAY[:id::text]) AND deleted_at IS NOT NULL AND coalesce(attention_at, 0) = :attention_at

-- name: purge_budget_sums
DELETE FROM budget_sums WHERE budget_id = ANY (ARRAY[:id::text])
