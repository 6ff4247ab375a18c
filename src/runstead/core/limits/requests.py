"""Bounds that a request can meet: sizes, names, counts, pages and durations."""

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
bus_event_data_bytes_max: Final = 256 * KIB  # as JSON
event_match_value_bytes_max: Final = 255  # of one condition, as JSON
json_depth_max: Final = 200
conversation_metadata_bytes_max: Final = 256 * KIB
worker_metadata_bytes_max: Final = 256 * KIB
# Targets that a worker registers
worker_targets_max: Final = 100
target_description_chars_max: Final = 4_096
target_schema_bytes_max: Final = 64 * KIB
target_version_chars_max: Final = 64
target_states_max: Final = 1_000  # of a project, by name, that are read for decisions about runs
unserved_ms: Final = 5_000  # a run waits so long before it is shown as one that no worker serves
target_states_s: Final = 2.0  # how long a process keeps them
target_projects_max: Final = 1_000  # of which a process keeps them
input_errors_max: Final = 20
input_error_chars_max: Final = 256  # of the place and of the message of each, together with the path
input_schemas_compiled_max: Final = 256
# The product of the sizes of schema and value of a check that is certainly short
input_check_steps_max: Final = 4_000_000
input_check_s_max: Final = 2.0  # CPU time of a longer one
input_check_bytes_max: Final = 512 * MIB  # of memory, of the process for longer ones
input_checks_waiting_per_project_max: Final = 8  # long ones
input_checks_waiting_max: Final = 256
input_check_wait_s: Final = 30  # for its turn
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
worker_version_chars_max: Final = 64
session_key_chars_max: Final = 512
slug_chars_max: Final = 63
event_type_chars_max: Final = 128
value_name_chars_max: Final = 128
signal_name_chars_max: Final = 128
event_match_path_chars_max: Final = 255
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
flow_key_chars_max: Final = 255
keys_visited_max: Final = 1_000  # of one target, by one claim
rate_limit_max: Final = 1_000_000  # runs in its period
rate_tokens_max: Final = 10_000_000_000  # tokens of models in its period
rate_missing_max: Final = 1 << 62  # parts of tokens that a bucket lacks, so that no number overflows
rate_period_s_max: Final = 86_400
rate_buckets_dropped_max: Final = 1_000  # full ones, by one claim
unique_s_max: Final = 30 * 86_400
debounce_s_max: Final = 30 * 86_400
retry_events_max: Final = 10_000  # that a retry from a step copies
retry_bytes_max: Final = 16 * MIB  # of these events
step_id_chars_max: Final = 255
event_match_max: Final = 8  # conditions of one wait or trigger
bus_event_resumes_max: Final = 1_000  # before the response; a loop resumes the others
compensations_per_run_max: Final = 100
compensations_bytes_max: Final = 16 * MIB  # config and input of all registered ones of a run
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
bus_event_kept_s: Final = 86_400  # that its id is remembered, and an unfinished delivery continued
spans_sent_s_max: Final = 3  # at a stop
shutdown_s: Final = 10
processes_max: Final = 64  # of one `runstead serve`
process_ready_s: Final = 60  # a new process must accept requests within this time
process_backoff_s_max: Final = 10  # between the end of a process and the start of its replacement
process_metrics_s: Final = 1.0  # /metrics waits this long for another process
