"""Every bound in one place, its unit last in the name."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# Requests while they are read, of whomever
header_bytes_max: Final = 64 * KIB  # of the request line and all headers
url_bytes_max: Final = 16 * KIB
header_s_max: Final = 10.0  # for a whole header to come, from the first byte, or from the connection's begin
body_s_max: Final = 30.0  # for a body to be whole, or else to have grown by this many seconds' least share
body_bytes_per_s_min: Final = 4 * KIB
idle_s_max: Final = 75.0  # between two requests on one connection
last_request_s: Final = 0.3  # that a stopping server gives a connection that has sent no request yet
refused_s_max: Final = 2.0  # for a caller to read a refusal before it is cut off
plain_body_bytes_max: Final = 64 * KIB  # which are read whole before anything is asked about the caller

# Connections, where the limit on open files allows for as many
connections_max: Final = 65_536
files_kept_max: Final = 512  # of the open files, for the store and for what goes out
backlog_max: Final = 4_096

# Bodies and values
body_bytes_max: Final = 10 * MIB
sign_in_body_bytes_max: Final = 32 * KIB
event_bytes_max: Final = 256 * KIB  # an event of exactly this size is refused
private_event_bytes_max: Final = 8 * MIB
request_snapshot_bytes_max: Final = 2 * MIB
output_bytes_max: Final = 1 * MIB
schedule_config_bytes_max: Final = 64 * KIB
batch_config_bytes_max: Final = 64 * KIB  # of the run that follows a batch
json_depth_max: Final = 200
conversation_metadata_bytes_max: Final = 256 * KIB
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
implementation_kind_chars_max: Final = 64
worker_key_chars_max: Final = 128
session_key_chars_max: Final = 512
slug_chars_max: Final = 63
event_type_chars_max: Final = 128
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
schedule_failure_chars_max: Final = 1_000  # of a failed run's message, as its schedule tells it
schedule_reason_chars_max: Final = 1_000
source_path_chars_max: Final = 1_024
source_hash_chars_max: Final = 255

# Counts
events_per_append_max: Final = 100
events_per_run_max: Final = (1 << 24) - 1
event_rows_default: Final = 100
event_rows_max: Final = 500
event_types_filtered_max: Final = 100  # that one list or stream can be asked for
event_types_told_max: Final = 1_000  # that a summary tells apart
usage_models_max: Final = 1_000  # that a usage report tells apart
page_rows_default: Final = 50
page_rows_max: Final = 100
children_rows_max: Final = 1_000
snapshot_children_max: Final = 1_000
snapshot_inputs_max: Final = 100
tree_rows_max: Final = 10_000
artifacts_max: Final = 1_000
claim_runs_max: Final = 100
family_depth_max: Final = 64
message_parts_max: Final = 200
input_fields_max: Final = 100
field_options_max: Final = 1_000
backoff_limit_max: Final = 1_000
priority_min: Final = -100
priority_max: Final = 100
concurrency_limits_per_project_max: Final = 100
running_max: Final = 10_000  # that a limit may allow: a claim counts no further
running_told_max: Final = 100_000  # that are counted where limits are shown
schedules_per_project_max: Final = 500  # a list holds them all: there are no pages
schedule_backoff_limit_default: Final = 3
runs_per_batch_max: Final = 1_000
batch_errors_max: Final = 20  # that one refusal tells of
schedule_replaced_runs_max: Final = (
    100  # that one firing cancels; where there are more, the next look goes on
)
upcoming_times_default: Final = 10
upcoming_times_max: Final = 100
integer_max: Final = (1 << 53) - 1  # the largest integer that JSON clients hold exactly

# A page of events also ends here, so that 500 large events never stand in memory at once
event_page_bytes_max: Final = 1 * MIB
# A page of messages ends once this much was read for it; of one agent run's log, no more is folded into its message
message_page_bytes_max: Final = 4 * MIB
message_fold_bytes_max: Final = 4 * MIB
# Folded messages that are kept, so that reading a conversation again reads no log
message_cache_bytes_max: Final = 16 * MIB

# Browsers that are signed in
browser_session_s: Final = 12 * 3_600  # and never longer than the credential in it
browser_sessions_max: Final = 64  # of one identity: with another, the oldest ends
browser_sessions_pruned_max: Final = 1_000  # at a time
browser_seen_s: Final = 30.0  # how often it is stored which browsers were seen
user_agent_chars_max: Final = 200

# The index of runs
index_tick_s: Final = 1.0
index_facts_max: Final = 256  # runs that one statement reads; a block is a multiple of it
index_rows_max: Final = 512  # terms that one transaction stores
index_blocks_noted_max: Final = 16  # whose changes are noted before they are indexed
index_changes_max: Final = 4_096  # that are worked in at a time
index_blocks_per_tick_max: Final = 64  # that such changes may lie in
index_settle_s: Final = 5.0  # how long transactions that began before are waited for

# Charts
order_slack_ms: Final = 5 * 60_000  # that runs may be stored out of the order of their times
order_near: Final = 500  # runs among which it is looked no closer for a time
chart_buckets_max: Final = 500
chart_runs_max: Final = 10_000  # the newest that a chart reads where its filters are those of no sum

# Usage, and what it costs
tokens_per_run_max: Final = 1_000_000_000_000  # of one kind, that sums count: so that none overflows
usage_backlog_max: Final = (
    100_000  # runs that a report reads while a store from before there were sums is added up
)
rollup_entries_per_tick_max: Final = 500  # that one transaction adds to the sums
rollup_rows_per_tick_max: Final = 100  # the same of runs that ended before there were sums
rollup_tick_s: Final = 1.0
usage_groups_max: Final = 1_000
usage_families_max: Final = 300_000  # among which a report looks for them
prices_per_project_max: Final = 1_000
price_max: Final = 1_000_000_000_000  # a million of the currency for a million tokens

# What administrators see of the servers
replica_seen_s: Final = 10.0  # how often a server tells that it is there
replica_silence_s: Final = 60  # then it is not
census_projects_max: Final = 100
census_runs_max: Final = 10_000  # of one project and state

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
stream_poll_s: Final = 5  # how long a lost hint can delay an event
stream_tick_s: Final = 0.5  # between two looks at whose heartbeat is due
streams_looked_at_max: Final = 1_000  # runs in one read
stream_page_bytes_max: Final = 64 * KIB  # that a follower is sent at once, or one event
write_silence_s: Final = (
    30  # a connection whose peer takes no byte of what waits for it for so long is closed
)
idempotency_s: Final = 86_400
shutdown_s: Final = 10
processes_max: Final = 64  # of one `runstead serve`
process_ready_s: Final = 60  # until a process that was started must accept requests
process_backoff_s_max: Final = 10  # between the end of a process and the start of another
process_metrics_s: Final = 1.0  # that /metrics waits for another process

# Artifacts
artifact_bytes_max: Final = 5 * 1024 * MIB  # unless a setting says otherwise
artifact_chunk_bytes: Final = 256 * KIB  # that are read or written at a time
artifact_parts_at_once: Final = 4  # of 5 MiB each, on their way to S3
artifact_tombstones_per_tick_max: Final = 100
artifact_gc_tick_s: Final = 10.0

# Queues and loops
writer_queue_max: Final = 4_096
writer_group_max: Final = 64
# What SQLite's writer does on the event loop rather than in its thread
loop_held_s_max: Final = 0.01  # then the thread does the rest of the group
loop_spared_times: Final = 20  # as long as it was held, the thread does all of it
loop_runs_max: Final = 16  # that one command changes
loop_bytes_max: Final = 64 * KIB  # of large values, in one command
run_cache_entries_max: Final = 4_096
run_cache_bytes_max: Final = 16 * MIB
readers_max: Final = 4
deadlines_per_tick_max: Final = 256
idempotency_records_per_tick_max: Final = 1_000  # answers kept for idempotency keys
deadlines_tick_s: Final = 0.5
awaited_again_ms: Final = 30_000  # until an ended run is looked at again whose end nobody could be told of
paced_pause_s: Final = 0.0005  # between pieces of long work beside the event loop
loop_pause_s_min: Final = 0.02  # between two looks of a loop that waits for a deadline
loop_wait_s_max: Final = 1.0  # until a loop notices that its replica leads
# A dead leader is replaced within the lease and one look of the others.
leader_lease_s: Final = 6.0
leader_margin_s: Final = 0.5  # of it that a leader does not use: clocks do not all go at one speed
leader_look_s: Final = 2.0  # how often it is renewed, and others look whether it has run out
leader_retry_s: Final = 0.5  # after a look that failed
claim_poll_s: Final = 1.0
claim_pause_s_min: Final = 0.05  # between two looks of a claim that waits for a delayed run
claim_look_ms_max: Final = 250  # that a look may have begun before its claim asks what is delayed
worker_silence_s: Final = 120  # without a heartbeat, a claim or a renewal; workers send one every 30 s
held_looked_max: Final = 2_000  # runs that are looked at for those that workers hold
worker_heard_s: Final = 30.0  # how often it is stored that claims and renewals are signs of life
heard_per_tick_max: Final = 1_000
liveness_tick_s: Final = 10.0
silent_per_tick_max: Final = 256
silent_told_max: Final = 10  # in one line of the log
batch_cancel_rows_max: Final = 256  # runs of a batch that one transaction cancels
batch_cancel_rounds_max: Final = 16  # such transactions in one request; a loop does what is left
batch_retry_page_rows: Final = 100
batch_retry_bytes_max: Final = 64 * MIB  # of the requests of runs that are tried again together
batches_per_tick_max: Final = 64
batch_tick_s: Final = 0.5
batch_progress_interval_s: Final = 0.1  # a follower is told of a batch at most once in it
scheduler_rows_max: Final = 64  # firings in one transaction
scheduler_rows_per_tick_max: Final = 256
scheduler_tick_s: Final = 0.5
schedule_late_ms: Final = 60_000  # a firing that comes later than this was missed
schedule_deleting_ms: Final = (
    10_000  # how often one whose runs have not ended yet is looked at, to be removed
)
worker_tokens_max: Final = 16

# Hints about a project, and those who follow them
changes_per_project_max: Final = 4_096  # kept to resume from; a follower further behind reads the lists again
changes_idle_s: Final = 300  # how long they are kept after the last follower left
changes_idle_projects_max: Final = 64
change_interval_s: Final = 0.1  # a follower is told at most once in it about the changes of one run
change_cursor_chars_max: Final = 64

# Retention
retention_days_max: Final = 36_500
retention_rows_per_tick_max: Final = 256  # runs that leave in one tick
retention_runs_max: Final = 32  # in one transaction
retention_looks_max: Final = 4_096  # roots that are looked at for them
retention_tick_s: Final = 60.0
retention_lock_ms: Final = 100  # for the table of all partitions, while others may wait behind

# Copying a store: one piece
copy_rows_max: Final = 5_000
copy_bytes_max: Final = 8 * MIB

# Compression in SQLite: not below this size, and only where no more than this share is left
compress_bytes_min: Final = 4 * KIB
compress_share_max: Final = 0.9

# Looking over a whole store
integrity_rows_max: Final = 1_000  # runs of one page
# Push services. Published services send a heartbeat every 30 s.
push_service_name_chars_max: Final = 128
push_service_url_chars_max: Final = 2_048
push_services_per_project_max: Final = 256
push_service_silence_s: Final = 120
dispatch_s_max: Final = 30  # for a service to answer
dispatch_lease_ms: Final = 60_000  # longer than that, so that a lease never ends before its dispatch
dispatch_tries_max: Final = 8
dispatch_retry_after_s_max: Final = 300
dispatch_answer_bytes_max: Final = 64 * KIB
dispatches_max: Final = 128
dispatches_per_service_max: Final = 8
dispatch_poll_s: Final = 1.0
stop_s_max: Final = 10
stop_tries_max: Final = 4
push_silence_ms: Final = 30 * 60_000  # how long a service may work on a run without a word
push_renewal_ms: Final = 60_000  # an append renews no more often than this

# Webhooks, and triggers that others call
webhooks_per_project_max: Final = 16
webhook_url_chars_max: Final = 2_048
webhook_secret_bytes_min: Final = 24
webhook_secret_bytes_max: Final = 64
webhook_old_secret_ms: Final = 24 * 3_600_000  # how long an old secret signs beside the new one
webhook_value_bytes_max: Final = (
    16 * KIB
)  # of an output, an error, metadata: a larger one is left out of the event
webhook_failing_ms_max: Final = (
    72 * 3_600_000
)  # then a webhook is disabled with the next delivery that is given up
delivery_ms_max: Final = 24 * 3_600_000  # how long a delivery is tried
delivery_backoff_ms_first: Final = 5_000
delivery_backoff_ms_max: Final = 3 * 3_600_000  # also of a Retry-After
delivery_s_max: Final = 15  # for a receiver to answer
delivery_lease_ms: Final = 60_000  # longer than that, so that a lease never ends before its attempt
delivery_answer_bytes_max: Final = 64 * KIB  # what is longer is cut: nobody reads it
deliveries_max: Final = 128
deliveries_per_webhook_max: Final = 8
delivery_poll_s: Final = 1.0
delivery_kept_ms: Final = 7 * 86_400_000
deliveries_pruned_max: Final = 5_000  # at a time
hooked_projects_max: Final = 10_000  # that are woken for; others are found by looking
hooked_poll_s: Final = 5.0
webhook_settle_s: Final = 5.0  # how long a new webhook waits for transactions that began before it
triggers_per_project_max: Final = 256
trigger_body_bytes_max: Final = 1 * MIB
trigger_config_bytes_max: Final = 64 * KIB

# What the server signs
run_token_s: Final = 86_400
signature_s: Final = 60
signing_keys_max: Final = 32
signing_keys_reload_s: Final = 30

# PostgreSQL: sessions of one replica, and how long they wait
commit_groups_max: Final = 4  # transactions of commands under way at a time
commit_group_max: Final = 64
# So many must wait before another transaction is begun beside one that is under way, or for so long.
commit_group_worth: Final = 32
commit_group_patience_s: Final = 0.05
postgres_writers_max: Final = 4
postgres_readers_max: Final = 8
session_wait_s: Final = 10  # for a session that is free
connect_s: Final = 5
statement_s: Final = 10
lock_s: Final = 2  # for a row that another transaction holds
idle_transaction_s: Final = 10
chain_idle_s: Final = 0.01  # then an empty transaction that waits for the next batch is ended
chain_s: Final = (
    1.0  # so often a session ends a transaction without beginning another, and reports its statistics
)
in_doubt_s: Final = 5  # for word of what became of a commit whose session broke
race_retries_max: Final = 5
statements_kept_max: Final = 512  # prepared, in each session
batch_slots: Final = 16  # rows over which the counters of a batch are spread
partitions_ahead_months: Final = 2

# Hints between replicas
notifications_kept_max: Final = 10_000  # while they cannot be sent; more are lost, and found by the next look
notification_payload_bytes_max: Final = 7_000  # PostgreSQL takes 7,999
notification_pause_s: Final = 0.005  # after a message, so that many hints share the next
notification_listeners_s: Final = 10  # so often one that sends sees whether any other replica listens
notification_silence_s: Final = 15  # then it is seen whether the carrier is still there
reconnect_s_max: Final = 5

# Integer timestamps handed in by callers: 1970 to 9999
timestamp_ms_max: Final = 253_402_300_799_999

# Backoff that a worker declared by itself
attempts_default_after_lease_loss: Final = 3
attempts_default_after_timeout: Final = 0
