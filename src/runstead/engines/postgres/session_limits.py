"""The bounds of PostgreSQL's sessions: how many one replica has, and how long they wait."""

from typing import Final

batches_max: Final = 4  # transactions of commands at the same time
batch_commands_max: Final = 64
# While a transaction is under way, another one starts when this many commands wait, or after this time.
batch_commands_min: Final = 32
batch_wait_s_max: Final = 0.05
group_lock_ms: Final = 100  # for a lock of another transaction, other than that of a run: then lanes go on
write_stuck_s: Final = 5  # /readyz fails if the oldest write outside of lanes waits this long
# Lanes: transactions of commands that wait for a locked run, or need a transaction of their own
lanes_max: Final = 4
lanes_per_project_max: Final = 2
insert_rows_max: Final = 128  # new runs that one statement stores
lane_commands_max: Final = 1_024  # of one project
family_cancel_part_runs_max: Final = 256  # descendants that a cancel decides and writes at a time
# Other writes, of callers and of the server itself
postgres_writers_max: Final = 3
postgres_writers_per_project_max: Final = 2
server_writers_max: Final = 3
# Sessions for reads, by kind: of one record or a bounded page; of lists; of reports. As many as `server_sessions_max`
# each are for authentication, for the short reads of loops, and for their long ones.
point_sessions_max: Final = 4
points_per_project_max: Final = 3  # at the same time
scan_sessions_max: Final = 3
report_sessions_max: Final = 2  # a project holds one of them
server_sessions_max: Final = 2
point_statement_s: Final = 5
scan_statement_s: Final = 10
report_statement_s: Final = 30
opening_max: Final = 4  # sessions that are opened at a time
session_wait_s: Final = 10  # for a free session
sessions_waiting_per_project_max: Final = 2_048  # requests that wait for a session of a kind
sessions_waiting_max: Final = 8_192
cancel_s: Final = 2.0  # for the statement of a cancelled request to end
statement_s: Final = 10  # of a write
lock_s: Final = 2  # for a row that another transaction has locked
idle_transaction_s: Final = 10
chain_idle_s: Final = 0.01  # then an empty transaction that waits for the next commands is ended
chain_s: Final = 1.0  # how often a session ends a transaction without starting another, to report statistics
in_doubt_s: Final = 5  # to find out whether a commit succeeded whose session broke
# Reads at a standby: see docs/decisions/0040
# For the standby to replay what a read must see; then the primary serves the read
standby_wait_s: Final = 0.05
standby_reply_s: Final = 1.0  # to connect, and for short statements
standby_check_s: Final = 1.0  # how often each standby is checked; also how long one that failed is not used
standby_events_min: Final = 64  # shorter pages of events come from the primary
standby_marker_s: Final = 86_400  # then a row that identifies a history of the primary is deleted
statements_kept_max: Final = 512  # prepared statements of each session
partitions_ahead_months: Final = 2
# A migration waits this long for the lock of a table, because other transactions queue behind it, and tries again
migration_lock_ms: Final = 100
migration_pause_s: Final = 1.0  # between two tries, and a random part more
migration_s_max: Final = 600  # then the migration fails
