"""All bounds. The name of a bound ends with its unit."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# Reading requests, before authentication
header_bytes_max: Final = 64 * KIB  # of the request line and all headers
url_bytes_max: Final = 16 * KIB
header_s_max: Final = 10.0  # to receive the whole header, from its first byte or the start of the connection
tls_check_s: Final = 10.0  # how often the server looks whether the files of its certificate changed
tls_shutdown_s_max: Final = 1.0  # for a peer to confirm the end of a TLS connection
body_s_max: Final = 30.0  # to receive the whole body, or `body_bytes_per_s_min` of it in each such period
body_bytes_per_s_min: Final = 4 * KIB
idle_s_max: Final = 75.0  # between two requests on one connection
last_request_s: Final = 0.3  # a stopping server waits this long for the first request of a new connection
refused_s_max: Final = 2.0  # for a client to read a refusal before the connection is closed
plain_body_bytes_max: Final = 64 * KIB  # bodies that are read before authentication

# Credentials that the server does not know, by address
authentication_failures_max: Final = 30  # at once
authentication_failures_per_s: Final = 1  # sustained
throttled_addresses_max: Final = 16_384  # addresses whose failures are remembered
known_credentials_max: Final = 65_536  # credentials that were valid, and are looked up even so
bootstrap_secret_chars_min: Final = 32
bootstrap_secret_different_chars_min: Final = 8  # 32 random hex digits have fewer once in 25 million times
# Compression of answers, for clients that accept gzip
gzip_bytes_min: Final = 1 * KIB
gzip_write_bytes_min: Final = 16 * KIB  # of answers to writes: frequent, and rarely much larger
gzip_small_bytes_max: Final = 16 * KIB  # compressed with little memory, which is faster
gzip_loop_bytes_max: Final = 64 * KIB  # larger ones are compressed in a thread

# Connections, if the limit of open files allows as many
connections_max: Final = 65_536
files_kept_max: Final = 2_048  # open files reserved for the store and for outgoing connections
backlog_max: Final = 4_096

# Bodies and values
body_bytes_max: Final = 10 * MIB
sign_in_body_bytes_max: Final = 32 * KIB
event_bytes_max: Final = 256 * KIB  # an event of exactly this size is refused
private_event_bytes_max: Final = 8 * MIB
request_snapshot_bytes_max: Final = 2 * MIB
output_bytes_max: Final = 1 * MIB
run_input_bytes_max: Final = 4 * MIB
run_config_bytes_max: Final = 1 * MIB
logs_bytes_max: Final = 4 * MIB
value_shown_bytes_max: Final = 4 * KIB  # of each trigger or push service, in lists of the dashboard
push_service_value_bytes_max: Final = 16 * KIB  # its capabilities, and its metadata, each
schedule_config_bytes_max: Final = 64 * KIB
batch_config_bytes_max: Final = 64 * KIB  # of the follow-up run of a batch
value_bytes_max: Final = 16 * KIB  # of a named value of a run, as JSON
signal_payload_bytes_max: Final = 256 * KIB  # as JSON
json_depth_max: Final = 200
conversation_metadata_bytes_max: Final = 256 * KIB
worker_metadata_bytes_max: Final = 256 * KIB
input_request_bytes_max: Final = 256 * KIB  # its fields, and its metadata, each
input_response_bytes_max: Final = 128 * KIB

# Names
run_id_chars_max: Final = 128
tool_call_id_chars_max: Final = 255
resume_tool_call_id_chars_max: Final = 128
target_chars_max: Final = 255
name_chars_max: Final = 255
title_chars_max: Final = 255
conversation_title_chars_max: Final = 500
labels_max: Final = 32
label_key_chars_max: Final = 63
label_value_chars_max: Final = 255
trace_state_chars_max: Final = 512  # what a participant should pass on (W3C Trace Context, section 3.3.1.5)
trace_state_members_max: Final = 32
implementation_kind_chars_max: Final = 64
worker_key_chars_max: Final = 128
session_key_chars_max: Final = 512
slug_chars_max: Final = 63
event_type_chars_max: Final = 128
value_name_chars_max: Final = 128
signal_name_chars_max: Final = 128
progress_message_chars_max: Final = 512
error_code_chars_max: Final = 128
error_message_chars_max: Final = 64 * KIB
idempotency_key_chars_max: Final = 255
conversation_summary_chars_max: Final = 16 * KIB
input_title_chars_max: Final = 1_000
input_description_chars_max: Final = 16 * KIB
field_name_chars_max: Final = 128
field_label_chars_max: Final = 256
field_text_chars_max: Final = 1_024
field_hint_chars_max: Final = 512
field_button_chars_max: Final = 64
field_value_chars_max: Final = 64 * KIB
cron_chars_max: Final = 255
timezone_chars_max: Final = 128
schedule_failure_chars_max: Final = 1_000  # of a failed run's message that its schedule shows
schedule_reason_chars_max: Final = 1_000
source_path_chars_max: Final = 1_024
source_hash_chars_max: Final = 255

# Counts
events_per_append_max: Final = 100
events_per_run_max: Final = (1 << 24) - 1
event_rows_default: Final = 100
event_rows_max: Final = 500
event_types_filtered_max: Final = 100  # in the filter of one list or stream
event_types_counted_max: Final = 1_000  # listed in a summary
usage_models_max: Final = 1_000  # listed in a usage report
page_rows_default: Final = 50
page_rows_max: Final = 100
children_rows_max: Final = 1_000
snapshot_children_max: Final = 1_000
snapshot_inputs_max: Final = 100
tree_rows_max: Final = 10_000
artifacts_max: Final = 1_000
values_per_run_max: Final = 64
open_approvals_max: Final = 100  # of one run
open_events_max: Final = 100  # that one run awaits
signals_untaken_max: Final = 1_000  # of one run
claim_runs_max: Final = 100
claim_bytes_max: Final = 8 * MIB  # of the values of these runs: a claim gets fewer, but one at least
claim_rows_unmeasured_max: Final = 8  # read before they are measured
family_depth_max: Final = 64
message_parts_max: Final = 200
input_fields_max: Final = 100
field_options_max: Final = 1_000
backoff_limit_max: Final = 1_000
priority_min: Final = -100
priority_max: Final = 100
keys_per_project_max: Final = 1_000  # that are not revoked
revoked_keys_kept_max: Final = 1_000  # of a project, to show them
members_per_project_max: Final = 1_000
removed_members_per_project_max: Final = 10_000  # that were no members: their access was a claim of a token
concurrency_limits_per_project_max: Final = 100
running_max: Final = 10_000  # the largest concurrency limit: a claim counts no more runs
running_counted_max: Final = 100_000  # runs counted when limits are shown
schedules_per_project_max: Final = 500  # one list contains them all, without pages
schedule_backoff_limit_default: Final = 3
runs_per_batch_max: Final = 1_000
batch_errors_max: Final = 20  # listed in one refusal
schedule_replaced_runs_max: Final = 100  # that one firing cancels; the next tick cancels the others
upcoming_times_default: Final = 10
upcoming_times_max: Final = 100
integer_max: Final = (1 << 53) - 1  # the largest integer that every JSON client represents exactly

# A page of events ends at this size, so that 500 large events are never in memory at once
event_page_bytes_max: Final = 1 * MIB
# A page of a list ends at this size of JSON, but has at least one row
list_page_bytes_max: Final = 1 * MIB
list_cursors_bytes: Final = 8 * KIB  # of two cursors that hold two names each
attempt_bytes: Final = 256  # that an attempt counts in a page, besides its error
run_view_bytes_min: Final = 1 * KIB  # a run in a list is never smaller, unless `fields` chooses its members
# A page of messages ends once this much was read
message_page_bytes_max: Final = 4 * MIB
# At most this much of an agent run's log is projected to its message
message_projection_bytes_max: Final = 4 * MIB
# Cache of projected messages, so that reading a conversation again reads no log
message_cache_bytes_max: Final = 16 * MIB

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

# Durations
lease_s_min: Final = 5
lease_s_max: Final = 300
lease_s_default: Final = 60
claim_wait_s_max: Final = 30
timeout_s_max: Final = 30 * 86_400
schedule_timeout_s_default: Final = 300
staleness_s_max: Final = 10 * 366 * 86_400
retry_after_s_max: Final = 86_400
backoff_ms_first: Final = 1_000
backoff_ms_max: Final = 300_000
stream_heartbeat_s: Final = 15
stream_poll_s: Final = 5  # the longest delay of an event after a lost notification
stream_tick_s: Final = 0.5  # between two checks for due heartbeats
streams_checked_max: Final = 1_000  # runs in one read
stream_page_bytes_max: Final = 64 * KIB  # read for a follower at once, or one larger event
stream_piece_bytes_max: Final = 64 * KIB  # written at once; the next piece waits until the peer reads
stream_send_buffer_bytes_max: Final = 128 * KIB  # of a stream's socket, in the kernel
streams_per_project_max: Final = 4_096  # of one process
streams_per_caller_max: Final = 1_024
stream_retry_s: Final = 10  # the Retry-After of a refused stream
store_unavailable_log_s: Final = 10.0  # a route logs at most once in this time that the store cannot be used
write_silence_s: Final = 30  # a connection is closed if its peer reads nothing of an answer for this time
idempotency_s: Final = 86_400
spans_sent_s_max: Final = 3  # at a stop
shutdown_s: Final = 10
processes_max: Final = 64  # of one `runstead serve`
process_ready_s: Final = 60  # a new process must accept requests within this time
process_backoff_s_max: Final = 10  # between the end of a process and the start of its replacement
process_metrics_s: Final = 1.0  # /metrics waits this long for another process

# Artifacts
artifact_bytes_max: Final = 5 * 1024 * MIB  # the default of a setting
artifact_chunk_bytes: Final = 256 * KIB  # read or written at a time
artifact_parts_at_once: Final = 4  # parts of 5 MiB uploaded to S3 at the same time
artifact_tombstones_per_tick_max: Final = 100
artifact_gc_tick_s: Final = 10.0

# Queues and loops
# New work is refused at more than this expected wait for a commit, or lag of the event loop; lists at a larger lag
admission_wait_s_max: Final = 0.04
admission_burst_s: Final = 1.0  # so long a caller may exceed it, up to the next bound, after a calm time
admission_burst_wait_s_max: Final = 0.1
admission_calm_s: Final = 5.0
admission_lag_s_max: Final = 0.05
admission_lists_lag_s_max: Final = 0.15
admission_connections_min: Final = 64  # with fewer callers the lag does not count
admission_memory_s: Final = (
    0.01  # after a refusal, other new work of the credential is refused without a check
)
admission_credentials_max: Final = 1_024  # whose refusals are remembered
admission_probe_s: Final = 0.02  # between two measurements of the lag
admission_idle_s: Final = 0.5  # between two looks at the number of connections, while there are few
admission_lags: Final = 3  # measurements, of which the least counts
admission_busy_min: Final = 0.5  # of a processor, else the loop has not too much to do
admission_retry_s_max: Final = 3  # the Retry-After is 1 to this, at random
writer_queue_max: Final = 4_096
writer_queue_per_project_max: Final = 1_024  # of the commands that wait for more than the next group
writer_group_max: Final = 64
writer_others_max: Final = 16  # commands of a group whose jobs are not quick
# Then a group in the thread is committed, and the rest of its commands wait for the next one
writer_quick_s_max: Final = 0.1
writer_others_s_max: Final = 0.025
# What SQLite's writer does on the event loop rather than in its thread
loop_blocked_s_max: Final = 0.01  # then the thread does the rest of the group
loop_job_s_max: Final = 0.001  # a full group of quick jobs may hold the loop for so long each
loop_spared_factor: Final = 20  # after the loop was blocked, the thread does all for so many times as long
loop_runs_max: Final = 16  # runs that one command may change on the loop
loop_bytes_max: Final = 64 * KIB  # large values that one command may write on the loop
insert_runs_max: Final = 256  # rows of one statement: after each, the thread waits for its turn
run_cache_entries_max: Final = 4_096
run_cache_bytes_max: Final = 16 * MIB
# SQLite's readers: threads for short reads, for long ones, and for the server's own long ones
point_readers_max: Final = 2
scan_readers_max: Final = 4
background_readers_max: Final = 1
read_s_max: Final = 5.0
progress_steps: Final = 5_000  # of SQLite's machine, between two checks whether a read must stop
scans_per_project_max: Final = 1  # at the same time: it takes a core and a share of the interpreter
scans_waiting_per_project_max: Final = 32
scans_waiting_max: Final = 1_024
scan_wait_s: Final = 10.0  # for its turn
deadlines_per_tick_max: Final = 256
idempotency_records_per_tick_max: Final = 1_000  # stored answers deleted in one tick
deadlines_tick_s: Final = 0.5
awaited_retry_ms: Final = 30_000  # until the server tries again to resume the parent of an ended run
paced_pause_s: Final = 0.0005  # between pieces of long work beside the event loop
loop_pause_s_min: Final = 0.02  # between two ticks of a loop that waits for a deadline
loop_wait_s_max: Final = 1.0  # until a loop notices that its replica leads
# A dead leader is replaced within `leader_lease_s` plus `leader_poll_s`.
leader_lease_s: Final = 6.0
leader_margin_s: Final = 0.5  # a leader stops this long before its lease ends, because clocks differ in speed
leader_poll_s: Final = 2.0  # how often the leader renews its lease, and other replicas check it
leader_retry_s: Final = 0.5  # after a failed request for the lease
claim_poll_s: Final = 1.0
claim_pause_s_min: Final = 0.05  # between two tries of a claim that waits for a delayed run
claim_read_age_ms_max: Final = 250  # the last try may have missed runs that became available so long ago
worker_silence_s: Final = 120  # without a heartbeat (which workers send every 30 s), claim or renewal
held_runs_checked_max: Final = 2_000  # runs that are read to find the leased ones
worker_seen_s: Final = 30.0  # how often claims and renewals are stored as heartbeats
seen_per_tick_max: Final = 1_000
liveness_tick_s: Final = 10.0
silent_per_tick_max: Final = 256
silent_logged_max: Final = 10  # in one line of the log
family_cancel_rows_max: Final = 64  # descendants that one transaction cancels
family_cancel_rounds_max: Final = 1_000  # such transactions in one request; a loop cancels the other runs
family_cancels_per_tick_max: Final = 64  # families
family_cancel_tick_s: Final = 0.5
batch_cancel_rows_max: Final = 256  # runs of a batch that one transaction cancels
batch_cancel_rounds_max: Final = 16  # such transactions in one request; a loop cancels the other runs
batch_piece_rows: Final = 64  # runs of a new batch that are handled before other requests
batches_created_at_once_max: Final = 2  # by one process
batches_created_per_project_max: Final = 1  # at once: they take the event loop and the writer from the others
batches_waiting_per_project_max: Final = 32
batches_waiting_max: Final = 256
batch_wait_s: Final = 30  # for its turn
batch_retry_page_rows: Final = 100
batch_retry_bytes_max: Final = 64 * MIB  # of the requests of runs that are retried together
batches_per_tick_max: Final = 64
batch_tick_s: Final = 0.5
batch_progress_interval_s: Final = 0.1  # between two updates of a batch to a follower
scheduler_rows_max: Final = 64  # firings in one transaction
scheduler_rows_per_tick_max: Final = 256
scheduler_tick_s: Final = 0.5
schedule_late_ms: Final = 60_000  # a planned time that is handled later counts as missed
schedule_deleting_ms: Final = 10_000  # between two checks whether a deleted schedule can be removed
worker_tokens_max: Final = 16
worker_token_s: Final = 86_400  # after the last heartbeat, claim or renewal of its worker, a token expires
worker_token_renewal_s: Final = 3_600  # how often heartbeats store a later expiry
worker_cached_s: Final = 10.0  # how long claims of other replicas may use a removed worker

# Change notifications of a project, and their followers
changes_per_project_max: Final = (
    4_096  # kept to resume from; a follower that is more behind reads the lists again
)
changes_per_page_max: Final = 256  # sent to a follower at once
changes_idle_s: Final = 300  # how long they are kept after the last follower left
changes_idle_projects_max: Final = 64
change_interval_s: Final = 0.1  # between two notifications about the same run to a follower
change_cursor_chars_max: Final = 64

# Retention
retention_days_max: Final = 36_500
retention_rows_per_tick_max: Final = 256  # runs deleted in one tick
retention_runs_max: Final = 32  # runs deleted in one transaction
retention_roots_checked_max: Final = 4_096  # root runs read to find them
retention_tick_s: Final = 60.0
retention_lock_ms: Final = 100  # for the lock of the partitioned table: other transactions queue behind it

# Copying a store: one piece
copy_rows_max: Final = 5_000
copy_bytes_max: Final = 8 * MIB

# Backups
backup_pages_max: Final = 4_096  # of a SQLite file in one piece, between two reports of progress
backup_part_bytes: Final = 64 * MIB  # of a database in S3, which has at most 10,000 parts

# Compression in SQLite: for values of at least this size, if the result is at most this share of the value
compress_bytes_min: Final = 4 * KIB
compress_share_max: Final = 0.9

# Integrity check of a whole store
integrity_rows_max: Final = 1_000  # runs of one page
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
delivery_overdue_ms_max: Final = (
    86_400_000  # an old delivery that is not sent yet is kept until it is so late
)
deliveries_expired_max: Final = 5_000  # deleted at a time
hooked_projects_max: Final = 10_000  # projects whose changes wake the deliverer; for others it polls
hooked_poll_s: Final = 5.0
webhook_settle_s: Final = 5.0  # how long a new webhook waits for transactions that began earlier
triggers_per_project_max: Final = 256
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

# Databases and brokers that are reached over the network
connect_s: Final = 5
race_retries_max: Final = 5
batch_slots: Final = 16  # rows over which the counters of a batch are spread

# Change notifications between replicas
notifications_kept_max: Final = (
    10_000  # while they cannot be sent; the next poll finds the changes of lost ones
)
notification_payload_bytes_max: Final = 7_000  # PostgreSQL's limit is 7,999
notification_pause_s: Final = 0.005  # after a message, so that many notifications share the next
notification_listeners_s: Final = 10  # how often a sender checks whether any other replica listens
notification_silence_s: Final = 15  # then the connection is checked
reconnect_s_first: Final = 0.1  # then twice as long after each loss, and a random part less
reconnect_s_max: Final = 5
connected_s_min: Final = 10  # a connection that is lost sooner does not reset that pause

timestamp_ms_max: Final = 253_402_300_799_999  # timestamps from callers: 1970 to 9999

# Retries of a run without its own limit
attempts_default_after_lease_loss: Final = 3
attempts_default_after_timeout: Final = 0
