"""Bounds of what a project and an operator keep beside runs: sessions, charts, usage, quotas, artifacts, push
services, webhooks, alert rules, budgets, the audit log and secrets.
"""

from typing import Final

from .requests import KIB, MIB

# Signed-in browsers
browser_session_s: Final = 12 * 3_600  # never longer than the credential of the session
browser_sessions_max: Final = 64  # of one identity: a new session ends the oldest one
browser_sessions_expired_max: Final = 1_000  # deleted at a time
browser_seen_s: Final = 30.0  # how often the last use of sessions is stored
user_agent_chars_max: Final = 200

# The index of runs
index_tick_s: Final = 1.0
index_facts_max: Final = 256  # runs that one statement reads; a block is a multiple of it
index_rows_max: Final = 512  # terms that one transaction stores
index_blocks_noted_max: Final = 16  # blocks whose changes are recorded before they are indexed
index_changes_max: Final = 4_096  # applied at a time
index_blocks_per_tick_max: Final = 64  # blocks that these changes may be in
index_settle_s: Final = 5.0  # wait for transactions that began earlier

# Charts
order_slack_ms: Final = 5 * 60_000  # runs may be stored this much out of the order of their times
order_near: Final = 500  # the search for a time stops at a range of this many runs
chart_buckets_max: Final = 500
chart_runs_max: Final = 10_000  # the newest runs, which a chart reads if no sum has its filters

# Usage and cost
tokens_per_run_max: Final = 1_000_000_000_000  # of one kind, counted in sums, so that no sum overflows
usage_backlog_max: Final = 100_000  # runs that a report reads until a store of an older version is summed up
rollup_entries_per_tick_max: Final = 500  # entries that one transaction adds to the sums
rollup_rows_per_tick_max: Final = 100  # runs of an older version that one transaction adds to the sums
rollup_tick_s: Final = 1.0
usage_groups_max: Final = 1_000
targets_listed_max: Final = 200
targets_searched_runs_max: Final = 100  # newest runs, since sums have only ended ones
usage_families_max: Final = 300_000  # families that a report reads to find the largest
# Quotas
quota_max: Final = 1_000_000_000
quota_bytes_max: Final = 1 << 50  # 1 PiB
quota_poll_s: Final = 5.0  # quotas that another process stored apply after this time
quota_overlap_ms: Final = 60_000  # changes are read again so long, since transactions commit out of order
quota_count_s: Final = 1.0  # pending runs are counted at most once in this time
quota_count_max: Final = 10_000  # pending runs that are counted to be shown
quota_retry_s: Final = 1
quota_projects_max: Final = 65_536  # projects whose requests and pending runs a process counts
prices_per_project_max: Final = 1_000
price_max: Final = 1_000_000_000_000  # a million of the currency for a million tokens

# Projects
projects_per_user_max: Final = 100  # that one user creates; the default of a setting

# What administrators see of the servers
replica_seen_s: Final = 10.0  # how often a replica sends a heartbeat
replica_silence_s: Final = 60  # without a heartbeat, a replica is no longer listed
statistics_projects_max: Final = 100
statistics_runs_max: Final = 10_000  # of one project and status
access_log_ms_max: Final = 3_600_000  # of the setting
measurement_tick_s: Final = 15.0  # between two measurements of the store for /metrics
measurement_s_max: Final = 5.0
measured_projects_max: Final = 20  # with series of their own; the others are summed
measured_targets_max: Final = 50  # pairs of a project and a target with a series of their own
measured_queues_max: Final = 200  # projects, and targets of each, whose oldest run is searched

# Artifacts
artifact_bytes_max: Final = 5 * 1024 * MIB  # the default of a setting
large_value_bytes_max: Final = 64 * MIB  # of a value that is stored as an artifact; the default of a setting
values_checked_at_once_max: Final = 2  # each is in memory meanwhile
artifact_chunk_bytes: Final = 256 * KIB  # read or written at a time
artifact_parts_at_once: Final = 4  # parts of 5 MiB uploaded to S3 at the same time
artifact_tombstones_per_tick_max: Final = 100
artifact_gc_tick_s: Final = 10.0

# Push services. Published services send a heartbeat every 30 s.
push_service_name_chars_max: Final = 128
push_service_url_chars_max: Final = 2_048
push_services_per_project_max: Final = 256
push_service_silence_s: Final = 120
push_call_recorded_s: Final = 1.0  # a service's calls are recorded once in this time: a success, and an error
interval_keys_max: Final = 10_000
dispatch_s_max: Final = 30  # for a service to answer
dispatch_lease_ms: Final = 60_000  # over `dispatch_s_max`, so that a lease never ends before its dispatch
dispatch_tries_max: Final = 8
dispatch_retry_after_s_max: Final = 300
dispatch_answer_bytes_max: Final = 64 * KIB
dispatches_max: Final = 128
dispatches_per_service_max: Final = 8
dispatch_poll_s: Final = 1.0
stop_s_max: Final = 10
stop_tries_max: Final = 4
push_silence_ms: Final = 30 * 60_000  # how long a service may work on a run without an append
push_renewal_ms: Final = 60_000  # appends renew the lease at most once in this time

# Webhooks, and triggers that others call
webhooks_per_project_max: Final = 16
webhook_url_chars_max: Final = 2_048
webhook_secret_bytes_min: Final = 24
webhook_secret_bytes_max: Final = 64
webhook_old_secret_ms: Final = 24 * 3_600_000  # how long an old secret signs beside the new one
webhook_value_bytes_max: Final = 16 * KIB  # a larger output, error or metadata is left out of the event
# After failing for this time, a webhook is disabled when the next delivery fails for the last time
webhook_failing_ms_max: Final = 72 * 3_600_000
delivery_ms_max: Final = 24 * 3_600_000  # how long a delivery is retried
delivery_backoff_ms_first: Final = 5_000
delivery_backoff_ms_max: Final = 3 * 3_600_000  # also of a Retry-After
delivery_s_max: Final = 15  # for a receiver to answer
delivery_lease_ms: Final = 60_000  # over `delivery_s_max`, so that a lease never ends before its attempt
delivery_answer_bytes_max: Final = 64 * KIB  # the rest of a longer answer is not read
deliveries_max: Final = 128
deliveries_per_webhook_max: Final = 8
delivery_poll_s: Final = 1.0
delivery_kept_ms: Final = 7 * 86_400_000
# An old delivery that is not sent yet is kept until it is so late
delivery_overdue_ms_max: Final = 86_400_000
deliveries_expired_max: Final = 5_000  # deleted at a time
hooked_projects_max: Final = 10_000  # projects whose changes wake the deliverer; for others it polls
hooked_poll_s: Final = 5.0
webhook_settle_s: Final = 5.0  # how long a new webhook waits for transactions that began earlier
triggers_per_project_max: Final = 256
saved_views_max: Final = 64  # of a caller in a project, and as many that a project shares
saved_view_name_chars_max: Final = 80
saved_view_filters_chars_max: Final = 4_096
trigger_body_bytes_max: Final = 1 * MIB
trigger_config_bytes_max: Final = 64 * KIB

# Alert rules
alerts_per_project_max: Final = 64
alert_tick_s: Final = 5.0  # how often the leader looks for rules that are due
alert_interval_s: Final = 15  # between two evaluations of a rule
alerts_per_tick_max: Final = 64  # rules that are evaluated in one transaction
alert_window_s_default: Final = 3_600
alert_window_s_min: Final = 900  # the width of the narrowest sums
alert_window_s_max: Final = 86_400
alert_runs_min_default: Final = 10  # a failure rate of fewer runs is not judged
alert_firings_kept_max: Final = 1_000  # newest entries of the history of each rule
alert_silent_workers_max: Final = 1_000  # counted by a rule

# Budgets
budgets_per_project_max: Final = 64  # beside those that are given when a run is created
budget_alert_percent_default: Final = 80
budget_tokens_max: Final = 1_000_000_000_000_000  # of a limit
budget_sum_max: Final = 1_000_000_000_000_000_000  # tokens or micros of a sum, so that none overflows
budget_periods_kept_days: Final = 400  # sums of earlier days and months are deleted
budget_tick_s: Final = 2.0  # how often the leader looks for budgets whose waiting runs may continue
budgets_per_tick_max: Final = 64
budget_waits_per_tick_max: Final = 256  # runs of one budget that continue or end in one tick
budget_approvals_kept_max: Final = 32  # of one run

# The audit log
audit_retention_days_default: Final = 400
audit_value_chars_max: Final = 256  # of each value in `change`
audit_values_max: Final = 32  # of a member with several values
audit_change_bytes_max: Final = 8 * KIB  # of `change`, else it holds only the names of the members
audit_csv_page_rows: Final = 1_000  # read at a time for a download
audit_entries_expired_max: Final = 5_000  # deleted at a time
audit_sign_in_projects_max: Final = 100  # in whose logs one sign-in is recorded
refused_sign_ins_per_minute_max: Final = 60  # recorded by one process; the others are counted

# Signed tokens and requests
run_token_s: Final = 86_400  # also the longest life that a presented token may have
signature_s: Final = 60
signing_keys_max: Final = 32
signing_keys_reload_s: Final = 30

# Sign-in with an OpenID provider
openid_sign_in_s: Final = 600  # from the provider's sign-in page back to this server
openid_sign_ins_max: Final = 16  # that one server finishes at the same time
openid_request_s_max: Final = 5
openid_answer_bytes_max: Final = 256 * KIB
openid_discovery_s: Final = 600

# Encryption of stored secrets
encryption_key_chars_min: Final = 32
encryption_key_chars_max: Final = 512
encryption_keys_max: Final = 16
secrets_per_slice_max: Final = 256  # encrypted with another key in one transaction
