"""Reads and writes of other entities in the transactions of runs, in SQLite."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from runstead.core.audit import AuditEntry
from runstead.core.batches.batch import Batch, Tally, counted
from runstead.core.budgets.counting import Ledger
from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.conversations.input_request import InputRequest
from runstead.core.errors import not_found
from runstead.core.queue.concurrency import Occupancy
from runstead.core.queue.push_service import PushService
from runstead.core.runs.bus_event import event_waits
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Want
from runstead.core.runs.write_set import WriteSet
from runstead.core.schedules.schedule import Schedule
from runstead.core.webhooks.event import deliveries
from runstead.core.webhooks.webhook import Webhook
from runstead.engines.sql import (
    batches,
    budgets,
    bus_events,
    concurrency,
    conversations,
    inputs,
    messages,
    push_services,
    schedules,
)
from runstead.engines.sql.audit import add_entries
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.sqlite_driver import SqliteDriver
from runstead.engines.sql.steps import execute, first, rewrite, select, value
from runstead.engines.sqlite.run_cache import Names, WriterCache
from runstead.engines.sqlite.sql import DIALECT

DRIVER: Final = SqliteDriver(DIALECT, lambda: 0)  # statements that need the time take it as an argument


def ledger_of(
    connection: sqlite3.Connection,
    cache: WriterCache,
    project_id: str,
    runs: Sequence[Run],
    now: int,
    *,
    usage: bool = False,
) -> Ledger | None:
    """The budgets of these runs of a project, and for `usage` the rates of tokens. None: the project has none."""
    rated = usage and _has(connection, cache.without_token_rates, "any_token_rate", project_id)
    if not rated and not _has(connection, cache.without_budgets, "any_budget", project_id):
        return None
    return DRIVER.run(connection, budgets.load_ledger(project_id, runs, now, rated=rated))


def _has(connection: sqlite3.Connection, without: Names, query: str, project_id: str) -> bool:
    """Whether the query finds something of the project. `without`: the projects of which it is known to find nothing."""
    if project_id in without:
        return False
    if DRIVER.run(connection, value(query, project_id=project_id)) is not None:
        return True
    without.add(project_id)
    return False


def store_budgets(connection: sqlite3.Connection, cache: WriterCache, write: WriteSet) -> None:
    """Store what a run spent of budgets and rates, and the budget that came with a new run."""
    project_id = write.run.project_id
    if write.spent is not None:
        DRIVER.run(connection, budgets.store_spent(project_id, [write.spent], write.now))
    if write.budget is not None:
        DRIVER.run(connection, execute("add_budget", write.budget))
        cache.without_budgets.discard(project_id)


def occupancies(connection: sqlite3.Connection, project_id: str, most: int) -> list[Occupancy]:
    return DRIVER.run(connection, concurrency.occupancies(project_id, most, claims=True))


def services_reaching(
    connection: sqlite3.Connection, project_ids: Sequence[str], now: int
) -> list[PushService]:
    return DRIVER.run(connection, push_services.services_reaching(project_ids, now))


def load_input(connection: sqlite3.Connection, run_seq: int, want: Want) -> InputRequest | None:
    return DRIVER.run(connection, inputs.load_input(run_seq, want))


def _add_input(connection: sqlite3.Connection, request: InputRequest) -> None:
    lives = DRIVER.run(connection, value("lock_live_conversation", id=request.conversation_id))
    if lives is None:
        raise not_found("Conversation")
    DRIVER.run(connection, inputs.add_input(request))


def change_inputs(connection: sqlite3.Connection, write: WriteSet) -> None:
    if write.opened_input is not None:
        _add_input(connection, write.opened_input)
    if write.closed_input is not None:
        DRIVER.run(connection, inputs.close_input(write.closed_input))


def erase_secrets(connection: sqlite3.Connection, run_seq: int) -> None:
    DRIVER.run(connection, inputs.erase_secrets([run_seq]))


def move_event_waits(connection: sqlite3.Connection, run: Run) -> None:
    DRIVER.run(connection, bus_events.move_waits([run.seq], list(event_waits(run))))


def count_artifact_bytes(connection: sqlite3.Connection, project_id: str, change: int) -> None:
    """Add to the number of bytes of the project's stored artifacts."""
    DRIVER.run(connection, execute("count_artifact_bytes", project_id=project_id, bytes=change))


def add_conversation(connection: sqlite3.Connection, conversation: Conversation) -> None:
    DRIVER.run(connection, conversations.add_conversation(conversation))


def add_message(connection: sqlite3.Connection, message: StoredMessage, now: int) -> StoredMessage:
    return DRIVER.run(connection, messages.add_message(message, now))


def delete_message(connection: sqlite3.Connection, conversation_id: str, run_seq: int) -> None:
    DRIVER.run(connection, messages.delete_message(conversation_id, run_seq))


def load_schedule(connection: sqlite3.Connection, schedule_id: str, project_id: str) -> Schedule | None:
    return DRIVER.run(connection, first("schedule", Schedule, id=schedule_id, project_id=project_id))


def rewrite_schedule(connection: sqlite3.Connection, old: Schedule, new: Schedule) -> None:
    """Write the changed fields if the version is still the one that was read."""
    DRIVER.run(connection, schedules.rewrite_schedule(old, new))


def due_schedules(connection: sqlite3.Connection, now: int, limit: int) -> list[Schedule]:
    return DRIVER.run(connection, select("due_schedules", Schedule, now=now, limit=limit))


def delete_schedule(connection: sqlite3.Connection, schedule: Schedule) -> None:
    DRIVER.run(connection, schedules.delete_schedule(schedule))


def record_schedule_end(connection: sqlite3.Connection, run: Run) -> None:
    """Write the outcome of a run that has just ended to its schedule."""
    assert run.schedule_id is not None
    DRIVER.run(connection, schedules.record_ends([run]))


def add_audit_entries(connection: sqlite3.Connection, entries: Sequence[AuditEntry]) -> None:
    DRIVER.run(connection, add_entries(entries))


def load_batch(connection: sqlite3.Connection, batch_id: str, project_id: str) -> Batch | None:
    return DRIVER.run(connection, batches.load_batch(batch_id, project_id))


def count_batches(connection: sqlite3.Connection, tally: Tally) -> None:
    """Add to the counters of the batches that exist. They are in the batch's row: there is only one writer."""
    for (project_id, batch_id, _), moved in tally.moved.items():
        old = load_batch(connection, batch_id, project_id)
        if old is not None:
            DRIVER.run(connection, rewrite("batches", old, counted(old, moved)))


def add_deliveries(
    connection: sqlite3.Connection, cache: WriterCache, run: Run, event_type: str, now: int
) -> None:
    """Store the deliveries of an event of a run, in the transaction of its change."""
    if run.project_id in cache.without_webhooks:
        return
    webhooks = DRIVER.run(connection, select("enabled_webhooks", Webhook, project_ids=[run.project_id]))
    if not webhooks:
        cache.without_webhooks.add(run.project_id)
        return
    for delivery in deliveries(run, event_type, webhooks, now):
        DRIVER.run(connection, value("add_delivery", **fields(delivery)))


def add_keyed_target(
    connection: sqlite3.Connection, cache: WriterCache, project_id: str, target: str
) -> None:
    """Note that the target has a run with a concurrency key."""
    DRIVER.run(connection, execute("add_keyed_target", project_id=project_id, target=target))
    cache.without_limits.discard(project_id)
