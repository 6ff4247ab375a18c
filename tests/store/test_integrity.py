"""`check` finds every kind of damage to a store, and nothing else."""

import sqlite3
from contextlib import closing

import pytest

from runstead.commands.check import check
from runstead.core import limits
from runstead.core.runs.invariants import CHECKS, RULES


async def found(store):
    return [violation async for violation in check(store)]


@pytest.fixture
def damage(store, engine):
    """damage(sql): executed beside the store, with no constraint in the way that SQLite can lift."""

    def execute(sql):
        if engine == "postgres":
            store._databases.execute(store.database, sql)
        else:
            with closing(sqlite3.connect(store._path)) as connection, connection:
                connection.execute(sql)

    return execute


async def test_a_sound_store_is_found_sound_however_small_the_pages(populated_store, monkeypatch):
    for rows in (limits.integrity_rows_max, 3, 1):
        monkeypatch.setattr(limits, "integrity_rows_max", rows)
        assert await found(populated_store.store) == []


async def test_progress_reaches_the_newest_run(populated_store, monkeypatch):
    monkeypatch.setattr(limits, "integrity_rows_max", 4)
    steps = []
    assert [one async for one in check(populated_store.store, lambda *step: steps.append(step))] == []
    looked, reached, newest = steps[-1]
    assert looked == len(await populated_store.rows())
    assert reached == newest == (await populated_store.row("cancelled-child")).seq


EVENTS = {
    "sqlite": "id >> 24 = (SELECT seq FROM runs WHERE run_id = '{0}') AND id & 16777215 = {1}",
    "postgres": "run_seq = (SELECT seq FROM runs WHERE run_id = '{0}') AND event_id = {1}",
}
FAMILY = {"sqlite": "UPDATE runs SET {} WHERE run_id = 'root'"}
FAMILY["postgres"] = "UPDATE run_families SET {} WHERE run_seq = (SELECT seq FROM runs WHERE run_id = 'root')"
ROW = "UPDATE runs SET {} WHERE run_id = '{}'"
#: A batch counts a run twice.
BATCH = {
    "sqlite": "UPDATE batches SET pending = pending + 1",
    "postgres": "UPDATE batch_counts SET pending = pending + 1",
}
DAMAGE = [
    ("an event is missing", ("DELETE FROM run_events", "done", 2), "events_are_gapless"),
    ("the first event is missing", ("DELETE FROM run_events", "done", 1), "events_are_gapless"),
    ("the end is missing", ("DELETE FROM run_events", "done", 4), "a_run_ends_once_and_last"),
    (
        "a run ends twice",
        ("UPDATE run_events SET type = 'RUN_FINISHED'", "done", 2),
        "a_run_ends_once_and_last",
    ),
    (
        "an end is of the wrong kind",
        ("UPDATE run_events SET type = 'RUN_ERROR'", "done", 4),
        "a_run_ends_once_and_last",
    ),
    (
        "a run ends and goes on",
        ("UPDATE run_events SET type = 'RUN_ERROR'", "root", 3),
        "a_run_ends_once_and_last",
    ),
    (
        "a sequence is wrong",
        ("UPDATE run_events SET sequence = 7", "root", 3),
        "external_sequence_counts_external_events",
    ),
    (
        "an event turned private",
        ("UPDATE run_events SET flags = flags | 2", "root", 1),
        "external_sequence_counts_external_events",
    ),
    ("an end was undone", ROW.format("status = 'running'", "done"), "a_run_ends_once_and_last"),
    ("an end has no time", ROW.format("completed_at = NULL", "done"), "an_end_has_its_time"),
    ("an error is missing", ROW.format("error = NULL", "leaf"), "the_error_matches_the_last_event"),
    ("a latest event was lost", ROW.format("latest_event_id = 5", "root"), "events_are_gapless"),
    ("a wait lost its reason", ROW.format("waiting_reason = NULL", "agent"), "a_wait_has_a_reason"),
    (
        "a run forgot its request",
        ROW.format("waiting_input_id = NULL", "agent"),
        "a_request_is_open_while_it_holds_its_run",
    ),
    (
        "a pending run left the queue",
        ROW.format("available_at = NULL", "queued"),
        "the_queue_holds_what_may_be_claimed",
    ),
    ("an ended run is queued", ROW.format("available_at = 1", "done"), "the_queue_holds_what_may_be_claimed"),
    ("a deadline was lost", ROW.format("due_at = NULL", "agent"), "the_deadline_fits_the_state"),
    ("a lease lost its token", ROW.format("lease_token = NULL", "agent"), "a_lease_belongs_to_an_attempt"),
    ("an attempt is not noted", "DELETE FROM run_attempts", "attempts_are_counted"),
    (
        "a stop was not asked for",
        ROW.format("cancel_stopped_at = 1", "root"),
        "a_cancel_is_requested_before_it_is_done",
    ),
    ("a path is wrong", ROW.format("path = '/7/'", "leaf"), "a_parent_exists"),
    ("a total is wrong", "family descendants_total = 9", "counters_count_the_family"),
    ("an active count is wrong", "family descendants_active = 0", "counters_count_the_family"),
    ("a family's order has a gap", "DELETE FROM family_log WHERE start = 4", "a_family_has_one_order"),
    ("a key outlived its event", "UPDATE run_event_keys SET event_id = 99", "a_key_belongs_to_an_event"),
    ("a value outlived its event", "UPDATE run_values SET event_id = 99", "a_value_belongs_to_an_event"),
    ("a signal is missing", "DELETE FROM run_signals WHERE number = 1", "signals_are_gapless"),
    ("a wait is not found", "DELETE FROM event_waits", "awaited_events_are_indexed"),
    (
        "a compensation is missing",
        "DELETE FROM run_compensations",
        "compensations_are_kept_until_the_end",
    ),
    ("events have no run", "DELETE FROM runs WHERE run_id = 'done'", "no_orphans"),
    ("a session has no run", "UPDATE worker_sessions SET run_seq = 99999", "no_orphans"),
    (
        "a message's run is gone",
        "UPDATE messages SET run_seq = 99999 WHERE id = 'm-1'",
        "message_without_run",
    ),
    ("messages are not counted", "UPDATE conversations SET message_count = 1", "message_count"),
    ("the newest message is another", "UPDATE conversations SET current_node = 'm-0'", "newest_message"),
    ("a batch miscounts", "batch", "batch_count"),
    (
        "a run has ended and its secrets are still there",
        "INSERT INTO input_secrets VALUES ('i-9', (SELECT seq FROM runs WHERE run_id = 'done'), 'encrypted')",
        "secrets_of_ended_run",
    ),
    (
        "a request has no conversation",
        "UPDATE input_requests SET conversation_id = 'c-9' WHERE id = 'i-1'",
        "input_without_conversation",
    ),
]


def test_no_rule_is_without_damage_that_violates_it():
    named = {rule for *_, rule in DAMAGE} | {
        "message_without_conversation"
    }  # which PostgreSQL does not let happen
    assert named == {rule.__name__ for rule in RULES} | CHECKS.keys() | {"no_orphans"}


@pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)
@pytest.mark.parametrize(("name", "sql", "rule"), DAMAGE, ids=[name for name, *_ in DAMAGE])
async def test_it_is_found_that(name, sql, rule, populated_store, damage, engine):
    if isinstance(sql, tuple):
        statement, run_id, event_id = sql
        sql = f"{statement} WHERE {EVENTS[engine].format(run_id, event_id)}"
    elif sql == "batch":
        sql = BATCH[engine]
    elif sql.startswith("family "):
        sql = FAMILY[engine].format(sql.removeprefix("family "))
    damage(sql)
    violations = await found(populated_store.store)
    assert rule in {violation.rule for violation in violations}, violations
    assert all(violation.sentence for violation in violations)


async def test_stats_count_the_rows_of_the_store(populated_store, engine):
    stats = await populated_store.store.integrity.stats()
    rows = await populated_store.rows()
    assert stats.engine == engine
    assert sum(stats.runs.values()) == len(rows)
    assert stats.runs["cancelled"] == 2
    assert stats.events_per_run == sum(run.latest_event_id for run in rows) / len(rows)
    assert stats.oldest_pending_at == min(run.created_at for run in rows if run.status == "pending")
    assert stats.bytes > 10_000
    tables = {table.name: table for table in stats.tables}
    if engine == "postgres":
        assert tables["run_events_other"].part_of == "run_events"
        assert all(table.bytes for table in stats.tables)
    else:
        assert tables["runs"].rows == len(rows)
        assert tables["messages"].rows == 2
