"""Bounds of the server's own work: admission, writers, readers, loops, notifications and copies."""

from typing import Final

from .requests import KIB, MIB

# Queues and loops
# New work is refused at more than this expected wait for a commit, or lag of the event loop; lists at a larger lag
admission_wait_s_max: Final = 0.04
admission_burst_s: Final = 1.0  # so long a caller may exceed it, up to the next bound, after a calm time
admission_burst_wait_s_max: Final = 0.1
admission_calm_s: Final = 5.0
admission_lag_s_max: Final = 0.05
admission_lists_lag_s_max: Final = 0.15
admission_connections_min: Final = 64  # with fewer callers the lag does not count
# After a refusal, other new work of the credential is refused without a check
admission_memory_s: Final = 0.01
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
bulk_runs_max: Final = 10_000  # of one bulk job
bulk_part_runs: Final = 500  # in one row of a job's list
bulk_jobs_running_max: Final = 4  # of one project
bulk_jobs_kept: Final = 100  # of one project
bulk_jobs_per_tick_max: Final = 8
bulk_runs_per_tick_max: Final = 32  # of one job
bulk_tick_s: Final = 0.5
bulk_errors_max: Final = 20  # refusals that a job shows
batches_per_tick_max: Final = 64
batch_tick_s: Final = 0.5
index_terms_read_max: Final = 4_096  # by one statement
search_error_chars_max: Final = 512  # of a run's error, as JSON, that searches and the run index read
search_value_chars_max: Final = 2_048  # of its input and of its output, in projects with `search_values`
# From the change of the setting to the first run whose values are searched
search_values_delay_ms: Final = 1_000
bus_tick_s: Final = 1.0
bus_events_per_tick_max: Final = 16
bus_events_expired_max: Final = 1_000  # deleted at a time
bus_delivery_s: Final = 30  # that a server has for a page of waits before another continues
bus_waits_per_page_max: Final = 256
bus_resumes_at_once_max: Final = 64
batch_progress_interval_s: Final = 0.1  # between two updates of a batch to a follower
scheduler_rows_max: Final = 64  # firings in one transaction
scheduler_rows_per_tick_max: Final = 256
scheduler_tick_s: Final = 0.5
schedule_late_ms: Final = 60_000  # a planned time that is handled later counts as missed
schedule_deleting_ms: Final = 10_000  # between two checks whether a deleted schedule can be removed
worker_tokens_max: Final = 16
worker_token_s: Final = 86_400  # after the last heartbeat, claim or renewal of its worker, a token expires
worker_token_renewal_s: Final = 3_600  # how often heartbeats store a later expiry
channel_stops_max: Final = 1_000  # cancels and pauses that a worker's channel keeps; more become one `resync`
channel_targets_max: Final = 100  # in one `run_available`
channel_retry_ms: Final = 1_000  # until a client opens a broken channel again
worker_cached_s: Final = 10.0  # how long claims of other replicas may use a removed worker

# Change notifications of a project, and their followers
# Kept to resume from; a follower that is more behind reads the lists again
changes_per_project_max: Final = 4_096
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
# Databases and brokers that are reached over the network
connect_s: Final = 5
race_retries_max: Final = 5
batch_slots: Final = 16  # rows over which the counters of a batch are spread

# Change notifications between replicas
# While they cannot be sent; the next poll finds the changes of lost ones
notifications_kept_max: Final = 10_000
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
