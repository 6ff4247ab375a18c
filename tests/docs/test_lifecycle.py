"""The states and limits in the docs, in text and in the diagram, are those of the code."""

import xml.etree.ElementTree as ET

import pytest

from runstead.core import limits
from runstead.core.runs.run import TERMINAL, RunStatus
from runstead.core.runs.transitions import MOVES

from .pages import PAGES, ROOT, blocks, name, table, text, ticked

PICTURE = ROOT / "docs/images/states.svg"


def test_the_table_of_states_holds_every_move():
    rows = {ticked(row[0])[0]: set(ticked(row[2])) for row in table("docs/run-lifecycle.md", "state")}
    assert rows == {state: set(moves) for state, moves in MOVES.items()}


def test_transitions_start_and_end_in_states_that_allow_it():
    for row in table("docs/run-lifecycle.md", "transition"):
        before = [RunStatus(word) for word in ticked(row[1]) if word in list(RunStatus)]
        after = [RunStatus(word) for word in ticked(row[2]) if word in list(RunStatus)]
        after += list(TERMINAL) if "a terminal state" in row[2] else []
        for one in before:
            assert one not in TERMINAL
            assert all(other in MOVES[one] or other is one for other in after), row


def test_the_picture_shows_every_move():
    moves = {}
    for edge in ET.parse(PICTURE).getroot().iter():
        for before in edge.get("data-from", "").split():
            moves.setdefault(before, set()).update(edge.get("data-to").split())
    assert moves == {state: set(after) for state, after in MOVES.items() if after}


def test_the_picture_is_drawn_for_light_and_dark_and_has_an_alternative_text():
    assert "prefers-color-scheme: dark" in PICTURE.read_text()
    assert "![A run is pending, running or waiting." in text("docs/run-lifecycle.md")


LIMITS = {
    "Unknown credentials of one address (an IPv4 address, or a /64 network of IPv6)": (
        f"{limits.authentication_failures_max} at once, {limits.authentication_failures_per_s} per second"
    ),
    "Secret of the bootstrap key": f"at least {limits.bootstrap_secret_chars_min} characters",
    "Worker token": f"valid for {limits.worker_token_s // 3_600} hours after the last request of its worker",
    "Token for one run": f"valid for {limits.run_token_s // 3_600} hours; an access token for as long as it was "
    "asked for, at most that",
    "Projects that a user creates": (
        f"{limits.projects_per_user_max}, unless `RUNSTEAD_PROJECTS_PER_USER_MAX` is set"
    ),
    "A request body": f"{limits.body_bytes_max // limits.MIB} MiB",
    "The form of a sign-in": f"{limits.sign_in_body_bytes_max // limits.KIB} KiB",
    "The request line and the headers": f"{limits.header_bytes_max // limits.KIB} KiB",
    "A URL": f"{limits.url_bytes_max // limits.KIB} KiB",
    "Time for a header to arrive": f"{limits.header_s_max:g} seconds",
    "Time for a TLS handshake": f"{limits.header_s_max:g} seconds",
    "Answers that are compressed for clients that accept gzip": f"from {limits.gzip_bytes_min // limits.KIB} KiB on, "
    f"to writes from {limits.gzip_write_bytes_min // limits.KIB} KiB on",
    "Open streams at one process": f"{limits.streams_per_project_max:,} of a project, "
    f"{limits.streams_per_caller_max:,} of a caller",
    "Time for a body to arrive": f"{limits.body_s_max:g} seconds, and longer while at least "
    f"{limits.body_bytes_per_s_min // limits.KIB} KiB per second arrive",
    "Time between two requests on a connection": f"{limits.idle_s_max:g} seconds",
    "Connections": f"as many as the limit on open files allows, at most {limits.connections_max:,}, "
    "unless `RUNSTEAD_CONNECTIONS_MAX` is set",
    "Connections of one address": "half of them, unless `RUNSTEAD_CONNECTIONS_PER_ADDRESS_MAX` is set",
    "One event": f"less than {limits.event_bytes_max // limits.KIB} KiB; "
    f"a private one less than {limits.private_event_bytes_max // limits.MIB} MiB",
    "Events per request": f"{limits.events_per_append_max}",
    "Events per page": f"{limits.event_rows_max}",
    "Start payload of an agent run": f"less than {limits.request_snapshot_bytes_max // limits.MIB} MiB",
    "`input` of a run": f"{limits.run_input_bytes_max // limits.MIB} MiB",
    "`config` of a run": f"{limits.run_config_bytes_max // limits.MIB} MiB",
    "Output": f"{limits.output_bytes_max // limits.MIB} MiB",
    "`logs` of a completion": f"{limits.logs_bytes_max // limits.MIB} MiB",
    "A page of a list": f"{limits.list_page_bytes_max // limits.MIB} MiB of JSON, and at least one row",
    "Children of a run in a snapshot, and its input requests": f"{limits.list_page_bytes_max // limits.MIB} MiB each",
    "`capabilities` of a push service, and its `metadata`": f"{limits.push_service_value_bytes_max // limits.KIB} KiB each",
    "Nesting of a body": f"{limits.json_depth_max} deep",
    "Run id, worker key": f"{limits.run_id_chars_max} characters",
    "Tool call id": f"{limits.resume_tool_call_id_chars_max} characters",
    "Title, target, names": f"{limits.title_chars_max} characters",
    "Time to send the last spans of a trace at a stop": f"{limits.spans_sent_s_max} seconds",
    "`tracestate` of a run": f"{limits.trace_state_chars_max} characters, {limits.trace_state_members_max} members",
    "Labels": f"{limits.labels_max}, keys up to {limits.label_key_chars_max} "
    f"and values up to {limits.label_value_chars_max} characters",
    "Artifacts of a run": f"{limits.artifacts_max:,}",
    "Values of a run": f"{limits.values_per_run_max}, names up to {limits.value_name_chars_max} characters, each "
    f"value up to {limits.value_bytes_max // limits.KIB} KiB of JSON",
    "Concurrency, unique and debounce keys": f"{limits.flow_key_chars_max} characters, the last two for up to {limits.unique_s_max // 86_400} days",
    "Keys of one target that a claim passes": f"{limits.keys_visited_max:,}",
    "Message of a run's progress": f"{limits.progress_message_chars_max} characters",
    "Signals that a run has not taken": f"{limits.signals_untaken_max:,}, names up to {limits.signal_name_chars_max} "
    f"characters, each payload up to {limits.signal_payload_bytes_max // limits.KIB} KiB of JSON",
    "Events that a retry from a step copies": f"{limits.retry_events_max:,}, with "
    f"{limits.retry_bytes_max // limits.MIB} MiB together",
    "`from_step`": f"{limits.step_id_chars_max} characters",
    "Runs of a bulk job": f"{limits.bulk_runs_max:,}",
    "Bulk jobs per project": f"{limits.bulk_jobs_running_max} that run; the newest {limits.bulk_jobs_kept} are kept",
    "Event of the bus": f"data up to {limits.bus_event_data_bytes_max // limits.KIB} KiB of JSON; its id is remembered for "
    f"{limits.bus_event_kept_s // 3600} hours",
    "`match` of a wait or trigger": f"{limits.event_match_max} conditions, paths up to "
    f"{limits.event_match_path_chars_max} characters, each value up to {limits.event_match_value_bytes_max} bytes of JSON",
    "Runs that an event resumes before its response": f"{limits.bus_event_resumes_max:,}; the others right afterwards, "
    f"{limits.bus_waits_per_page_max} read and {limits.bus_resumes_at_once_max} resumed at a time",
    "Compensations of a run": f"{limits.compensations_per_run_max}, with {limits.compensations_bytes_max // limits.MIB} "
    "MiB of config and input together",
    "Open approvals, and open events, that a wait names": f"{limits.open_approvals_max} each",
    "A value that is stored as an artifact": f"{limits.large_value_bytes_max // limits.MIB} MiB, unless `RUNSTEAD_VALUE_BYTES_MAX` is set",
    "One artifact": f"{limits.artifact_bytes_max // limits.MIB // 1024} GiB, unless `RUNSTEAD_ARTIFACT_BYTES_MAX` is set",
    "Processes of one `runstead serve`": f"{limits.processes_max}",
    "Integers": f"up to {limits.integer_max:,}",
    "Lease": f"{limits.lease_s_min} to {limits.lease_s_max} seconds",
    "Long poll of a claim": f"{limits.claim_wait_s_max} seconds",
    "Runs per claim": f"{limits.claim_runs_max}, with {limits.claim_bytes_max // limits.MIB} MiB of values,"
    " and at least one run",
    "`metadata` of a worker": f"{limits.worker_metadata_bytes_max // limits.KIB} KiB",
    "Targets that a worker registers": f"{limits.worker_targets_max}; each `description`"
    f" {limits.target_description_chars_max:,} characters, each schema {limits.target_schema_bytes_max // limits.KIB} KiB,"
    f" each `version` {limits.target_version_chars_max} characters",
    "Targets of a project that validate inputs or find unserved runs": f"{limits.target_states_max:,}, the first by name",
    "Errors of an invalid input": f"{limits.input_errors_max}, each with {limits.input_error_chars_max} characters of its"
    " place and of its message",
    "Check of an input whose schema may take long": f"{limits.input_check_s_max:g} s of CPU time,"
    f" {limits.input_check_bytes_max // limits.MIB} MiB of memory",
    "`version` of a worker": f"{limits.worker_version_chars_max} characters",
    "Cancels and pauses that a worker's channel keeps; more become one `resync`": f"{limits.channel_stops_max:,}",
    "`timeout_seconds`": f"{limits.timeout_s_max:,} (30 days)",
    "`backoff_limit`": f"{limits.backoff_limit_max:,}",
    "A rate": f"1 to {limits.rate_limit_max:,} runs, or 1 to {limits.rate_tokens_max:,} tokens of models, in 1 to"
    f" {limits.rate_period_s_max:,} seconds",
    "Schedules per project": f"{limits.schedules_per_project_max}",
    "`config` of a schedule": f"{limits.schedule_config_bytes_max >> 10} KiB",
    "Runs per batch": f"{limits.runs_per_batch_max:,}",
    "`config` of the follow-up run of a batch": f"{limits.batch_config_bytes_max >> 10} KiB",
    "Cron expression": f"{limits.cron_chars_max} characters",
    "Webhooks per project": f"{limits.webhooks_per_project_max}",
    "Alert rules per project": f"{limits.alerts_per_project_max}",
    "History of an alert rule": f"the newest {limits.alert_firings_kept_max:,} entries",
    "Window of an alert rule": (
        f"{limits.alert_window_s_min} to {limits.alert_window_s_max:,} seconds,"
        f" default {limits.alert_window_s_default:,}"
    ),
    "Silent workers that an alert rule counts": f"{limits.alert_silent_workers_max:,}",
    "Saved views": f"{limits.saved_views_max} of each caller in a project, and {limits.saved_views_max} that a project shares",
    "What a search reads of a run": f"{limits.search_error_chars_max} characters of its error, and with `search_values` "
    f"{limits.search_value_chars_max:,} of its input and of its output",
    "Budgets per project": f"{limits.budgets_per_project_max}, beside those of runs",
    "Limit of a budget": f"{limits.budget_tokens_max:,} tokens, a cost below 1,000,000,000,000",
    "Sums of a budget": f"{limits.budget_periods_kept_days} days",
    "Approvals of budgets that a run keeps": f"the newest {limits.budget_approvals_kept_max}",
    "Triggers per project": f"{limits.triggers_per_project_max}",
    "Address of a webhook": f"{limits.webhook_url_chars_max:,} characters",
    "Payload of a trigger": f"{limits.trigger_body_bytes_max // limits.MIB} MiB",
    "`config` of a trigger": f"{limits.trigger_config_bytes_max // limits.KIB} KiB",
    "Upcoming times of a schedule": f"1 to {limits.upcoming_times_max}, default {limits.upcoming_times_default}",
    "`max_staleness_seconds`": f"{limits.staleness_s_max:,} (ten years)",
    "Events that wait for one follower": f"{limits.stream_page_bytes_max // limits.KIB} KiB, or one event, besides the buffers of the connection",
    "Log lines about a store that refuses requests": f"one for each route in {limits.store_unavailable_log_s:.0f} seconds",
    "A client that reads no byte of waiting data": f"its connection is closed after {limits.write_silence_s} seconds",
    "Change notifications kept per followed project": f"{limits.changes_per_project_max:,}",
    "Time to measure the store for `/metrics`": (
        f"{limits.measurement_s_max:.0f} seconds, every {limits.measurement_tick_s:.0f} seconds"
    ),
    "Series of `runstead_runs`": f"{limits.measured_projects_max} projects, and one for the others",
    "Series of `runstead_oldest_pending_seconds`": f"{limits.measured_targets_max}, and one for the others",
    "Queues that are measured": (
        f"{limits.measured_queues_max} projects with queued runs, and {limits.measured_queues_max} targets of each"
    ),
    "A value in the audit log": (
        f"{limits.audit_value_chars_max} characters, and {limits.audit_values_max} values of one member"
    ),
    "`change` of an audit entry": (
        f"{limits.audit_change_bytes_max // limits.KIB} KiB: beyond that only the names of the members are kept"
    ),
    "Projects whose audit logs record one sign-in": f"{limits.audit_sign_in_projects_max}",
    "Failed sign-ins that one process records": (
        f"{limits.refused_sign_ins_per_minute_max} a minute; the next entry counts the others"
    ),
    "Batches that one process creates at the same time": (
        f"{limits.batches_created_at_once_max}, {('', 'one')[limits.batches_created_per_project_max]} of a project;"
        f" {limits.batches_waiting_per_project_max} of a project wait for up to {limits.batch_wait_s} seconds"
    ),
    "Runs of a batch that are retried together": (
        f"{limits.runs_per_batch_max:,}, with {limits.batch_retry_bytes_max // limits.MIB} MiB of requests"
    ),
    "API keys per project": (
        f"{limits.keys_per_project_max:,} that are not revoked; of revoked ones, the newest"
        f" {limits.revoked_keys_kept_max:,} are kept"
    ),
    "Members per project": f"{limits.members_per_project_max:,}",
    "Removed users of a project that were no members": f"{limits.removed_members_per_project_max:,}",
    "Time of a query, with SQLite": f"{limits.read_s_max:g} seconds",
    "Queries of a project at the same time, with SQLite": (
        f"{limits.scans_per_project_max}, and {limits.scans_waiting_per_project_max} that wait for up to"
        f" {limits.scan_wait_s:g} seconds"
    ),
    "Expected wait of a new run for its commit": (
        f"{limits.admission_wait_s_max * 1000:g} ms, behind at least {limits.writer_group_max} other writes;"
        f" {limits.admission_burst_wait_s_max * 1000:g} ms in a burst of {limits.admission_burst_s:g} second, after"
        f" {limits.admission_calm_s:g} calm seconds"
    ),
    "Lag of the event loop": (
        f"{limits.admission_lag_s_max * 1000:g} ms for new runs, {limits.admission_lists_lag_s_max * 1000:g} ms for"
        f" lists, in {limits.admission_lags} measurements one after the other in which it used"
        f" {limits.admission_busy_min:.0%} of a processor, with more than {limits.admission_connections_min} connections"
    ),
    "`Retry-After` of an overloaded server": f"1 to {limits.admission_retry_s_max} seconds, at random",
    "Writes that wait for a commit, with SQLite": (
        f"{limits.writer_queue_max:,}; of a project {limits.writer_queue_per_project_max:,} behind the first"
        f" {limits.writer_group_max}"
    ),
    "Prices per project": f"{limits.prices_per_project_max:,}",
    "One price": f"{limits.price_max // 1_000_000:,} of the currency for a million tokens",
    "Tokens of one kind of one run, in reports": f"{limits.tokens_per_run_max:,}",
    "Runs that a usage report reads besides the sums, after an upgrade": f"the newest {limits.usage_backlog_max:,}",
    "Families that a usage report reads": f"{limits.usage_families_max:,}",
    "Targets that the dashboard suggests": f"{limits.targets_listed_max}",
    "Newest runs whose targets it reads besides the sums": f"{limits.targets_searched_runs_max}",
    "Groups of a usage report": f"{limits.usage_groups_max:,}",
    "Buckets of a chart": f"{limits.chart_buckets_max}",
    "Runs that a chart counts under a filter by label, text or batch": f"the newest {limits.chart_runs_max:,}",
    "Sign-in with an OpenID provider": f"{limits.openid_sign_in_s // 60} minutes;"
    f" {limits.openid_sign_ins_max} are finished at the same time",
    "An answer of an OpenID provider": f"{limits.openid_answer_bytes_max // limits.KIB} KiB within"
    f" {limits.openid_request_s_max} seconds",
    "Encryption keys": f"{limits.encryption_keys_max}, each of {limits.encryption_key_chars_min} to"
    f" {limits.encryption_key_chars_max} characters",
    "Secrets that are encrypted in one transaction": f"{limits.secrets_per_slice_max}",
    "Life of a token for one run": f"{limits.run_token_s // 3_600} hours",
    "Browser session": f"{limits.browser_session_s // 3_600} hours, and never longer than its credential",
    "Browser sessions of a caller": f"{limits.browser_sessions_max}: a new one ends the oldest",
}
SENTENCES = {
    "docs/run-lifecycle.md": [
        f"{limits.attempts_default_after_lease_loss} after a lost or released attempt",
        f"and {limits.attempts_default_after_timeout} after a timeout",
        f"backoff** of {limits.backoff_ms_first // 1000} s",
        f"up to {limits.backoff_ms_max // 60_000} minutes",
        f"at most {limits.family_depth_max - 1} ancestors",
    ],
    "docs/events-and-streams.md": [
        f"at most {limits.events_per_run_max:,} events",
        f"limit` (1 to {limits.event_rows_max}, default {limits.event_rows_default})",
        f"after every {limits.stream_heartbeat_s} s of silence",
        f"every {limits.stream_poll_s} s",
        f"newest {limits.changes_per_project_max:,} change notifications",
        f"within {limits.change_interval_s} s",
    ],
    "docs/schedules.md": [
        f"`count` 1 to {limits.upcoming_times_max}, default {limits.upcoming_times_default}",
        f"Of more than {limits.schedule_replaced_runs_max}, the rest",
        f"| `timeout_seconds` | {limits.schedule_timeout_s_default} |",
        f"| `backoff_limit` | {limits.schedule_backoff_limit_default} |",
        f"at most {limits.schedules_per_project_max} schedules",
        f"at most {limits.schedule_config_bytes_max >> 10} KiB",
        f"at most {limits.schedule_failure_chars_max:,} characters",
        f"at most {limits.cron_chars_max} characters",
    ],
    "docs/webhooks.md": [
        f"at most {limits.webhooks_per_project_max} webhooks",
        f"base64 of {limits.webhook_secret_bytes_min} to {limits.webhook_secret_bytes_max} random bytes",
        f"over {limits.webhook_value_bytes_max // limits.KIB} KiB is null",
        f"any 2xx within {limits.delivery_s_max} seconds",
        f"for {limits.delivery_ms_max // 3_600_000} hours: after {limits.delivery_backoff_ms_first // 1000} s",
        f"up to {limits.delivery_backoff_ms_max // 3_600_000} h",
        f"none has arrived for {limits.webhook_failing_ms_max // 86_400_000} days",
        f"at most {limits.triggers_per_project_max} triggers",
        f"`config` ({limits.trigger_config_bytes_max // limits.KIB} KiB)",
        f"At most {limits.trigger_body_bytes_max // limits.MIB} MiB",
    ],
    "docs/batches.md": [
        f"1 to {limits.runs_per_batch_max:,} runs",
        f"up to {limits.batch_errors_max} of them",
        f"{limits.batch_cancel_rows_max} runs at a time",
        f"{limits.batch_cancel_rows_max * limits.batch_cancel_rounds_max:,} within the request",
        f"Every {limits.stream_heartbeat_s} seconds",
        f"at most {limits.batch_config_bytes_max >> 10} KiB",
    ],
    "docs/background-loops.md": [
        (
            f"at most {limits.deliveries_max} calls at a time, {limits.deliveries_max // 8} of one project, "
            f"about {limits.deliveries_per_webhook_max} to one webhook"
        ),
        (
            f"at most {limits.dispatches_max} calls at a time, {limits.dispatches_max // 8} of one project, "
            f"about {limits.dispatches_per_service_max} to one service"
        ),
        f"at most {limits.deliveries_expired_max:,} at a time",
        f"at most {limits.deadlines_per_tick_max} at a time",
        f"| deadlines | {limits.deadlines_tick_s} s |",
        f"| batch finalizer | {limits.batch_tick_s} s |",
        f"| family cancels | {limits.family_cancel_tick_s} s |",
        f"of large families, {limits.family_cancel_rows_max} runs at a time",
        f"| scheduler | {limits.scheduler_tick_s} s |",
        f"that are due, at most {limits.scheduler_rows_per_tick_max} at a time",
    ],
    "docs/operations.md": [f"all within {limits.shutdown_s} s"],
    "docs/metrics.md": [f"At {limits.writer_queue_max:,}, further writes get 503"],
    "docs/retention.md": [
        f"idempotency keys | {limits.idempotency_s // 3_600} hours",
        f"Deliveries of webhooks | {limits.delivery_kept_ms // 86_400_000} days",
    ],
    "docs/api-conventions.md": [f"`limit` (1 to {limits.page_rows_max}, default {limits.page_rows_default})"],
    "docs/conversations.md": [
        f"has 1 to {limits.message_parts_max} parts",
        f"up to {limits.idempotency_key_chars_max} characters",
        f"`limit` 1 to {limits.page_rows_max} (default {limits.page_rows_default})",
        f"at most {limits.message_projection_bytes_max // limits.MIB} MiB are folded",
        f"once {limits.message_page_bytes_max // limits.MIB} MiB were read",
        f"{limits.message_cache_bytes_max // limits.MIB} MiB of them",
        f"`name` (1 to {limits.field_name_chars_max} characters",
        f"`label` (1 to {limits.field_label_chars_max})",
        f"at most {limits.field_value_chars_max:,} characters",
        f"at most {limits.snapshot_children_max:,})",
        f"the newest {limits.snapshot_inputs_max})",
        f"1 to {limits.input_fields_max} fields, {limits.input_request_bytes_max // limits.KIB} KiB",
        f"a whole response {limits.input_response_bytes_max // limits.KIB} KiB",
    ],
    "docs/authentication.md": [f"newest {limits.worker_tokens_max} tokens"],
}


def test_limits_are_documented_correctly():
    assert {row[0]: row[1] for row in table("docs/bounds.md", "what")} == LIMITS


@pytest.mark.parametrize("page", SENTENCES)
def test_bounds_in_sentences_are_documented_correctly(page):
    flat = " ".join(text(page).split())
    for sentence in SENTENCES[page]:
        assert sentence in flat


def test_every_page_is_looked_at():
    assert {"README.md", "ARCHITECTURE.md", "docs/api.md"} <= {name(page) for page in PAGES}
    assert len(blocks("python")) >= 4
    assert len(blocks("json")) >= 7
