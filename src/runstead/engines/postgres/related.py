"""Reads and writes of other entities in the transactions of runs, in PostgreSQL."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from runstead.core import limits
from runstead.core.audit import AuditEntry
from runstead.core.conversations.conversation import Conversation
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.queue.concurrency import ConcurrencySlots, Occupancy
from runstead.core.queue.push_service import PushService
from runstead.core.runs.bus_event import event_waits
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Want
from runstead.core.schedules.schedule import Schedule
from runstead.core.webhooks.event import deliveries
from runstead.core.webhooks.webhook import Delivery, Webhook
from runstead.engines.postgres.commit.transaction import Transaction
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.sql import DIALECT
from runstead.engines.sql import bus_events, concurrency, conversations, inputs, push_services, schedules
from runstead.engines.sql.audit import add_entries
from runstead.engines.sql.postgres_driver import PostgresDriver
from runstead.engines.sql.rates import load_tokens, take_tokens
from runstead.engines.sql.steps import LockSpace, execute, execute_many, lock, select

DRIVER: Final = PostgresDriver(DIALECT, lambda time: time)


async def lock_slots(transaction: Transaction, project_ids: Sequence[str]) -> ConcurrencySlots:
    """Lock the concurrency slots of the projects until the transaction ends, and return the free ones. Read the time
    again, since the transaction may have waited for the lock.
    """
    if not project_ids:
        return ConcurrencySlots()
    await DRIVER.run(transaction.connection, lock(LockSpace.RUNNING, project_ids))
    # A separate statement, so that it sees commits made during the wait.
    rows = await DRIVER.run(
        transaction.connection, concurrency.occupied(project_ids, limits.running_max, claims=True)
    )
    for now, _ in rows:
        transaction.advance(now)
    slots = ConcurrencySlots((row.project_id, Occupancy(row.limit, row.running)) for _, row in rows)
    await DRIVER.run(transaction.connection, load_tokens(slots, transaction.now))
    return slots


async def take_tokens_of(transaction: Transaction, slots: ConcurrencySlots, runs: Sequence[Run]) -> None:
    """Take the tokens of claimed runs from the buckets of rates."""
    await DRIVER.run(transaction.connection, take_tokens(slots, runs, transaction.now))


async def services_reaching(
    connection: Connection, project_ids: Sequence[str], now: int
) -> list[PushService]:
    return await DRIVER.run(connection, push_services.services_reaching(project_ids, now))


async def load_input(connection: Connection, run_seq: int, want: Want) -> InputRequest | None:
    return await DRIVER.run(connection, inputs.load_input(run_seq, want))


async def add_conversation(connection: Connection, conversation: Conversation) -> None:
    await DRIVER.run(connection, conversations.add_conversation(conversation))


async def add_input(connection: Connection, request: InputRequest) -> None:
    """Add an input request. Its conversation must be locked and not deleted."""
    await DRIVER.run(connection, inputs.add_input(request))


async def close_input(connection: Connection, closed: ClosedInput) -> None:
    await DRIVER.run(connection, inputs.close_input(closed))


async def erase_secrets(connection: Connection, run_seqs: Sequence[int]) -> None:
    await DRIVER.run(connection, inputs.erase_secrets(run_seqs))


async def move_event_waits(connection: Connection, runs: Sequence[Run]) -> None:
    """Store the waits of runs that await other events of the bus than before."""
    waits = [wait for run in runs for wait in event_waits(run)]
    await DRIVER.run(connection, bus_events.move_waits([run.seq for run in runs], waits))


async def lock_schedules(connection: Connection, ids: Sequence[str]) -> dict[str, Schedule]:
    """Id → schedule, for those that exist."""
    return await DRIVER.run(connection, schedules.lock_schedules(ids))


async def rewrite_schedule(connection: Connection, old: Schedule, new: Schedule) -> None:
    """Write the changed fields if the version is still the one that was read."""
    await DRIVER.run(connection, schedules.rewrite_schedule(old, new))


async def due_schedules(connection: Connection, now: int, limit: int) -> list[Schedule]:
    """Lock due schedules; skip those that another replica has locked."""
    return await DRIVER.run(connection, select("due_schedules", Schedule, now=now, limit=limit))


async def due_schedules_with_keys(connection: Connection, now: int, limit: int) -> list[Schedule]:
    """Due schedules whose runs have a unique or a debounce key, without a lock."""
    return await DRIVER.run(connection, select("due_schedules_with_keys", Schedule, now=now, limit=limit))


async def delete_schedule(connection: Connection, schedule: Schedule) -> None:
    await DRIVER.run(connection, schedules.delete_schedule(schedule))


async def record_schedule_ends(connection: Connection, runs: Sequence[Run]) -> None:
    """Write the outcome of runs that have just ended to their schedules, in the order of their ends."""
    await DRIVER.run(connection, schedules.record_ends(runs))


async def count_artifact_bytes(connection: Connection, changes: Mapping[str, int]) -> None:
    """Add to the numbers of bytes of projects' stored artifacts. Last in a transaction: it locks them until its end."""
    rows = [{"project_id": name, "bytes": change} for name, change in sorted(changes.items()) if change]
    await DRIVER.run(connection, execute_many("count_artifact_bytes", rows))


async def add_keyed_targets(connection: Connection, names: Iterable[tuple[str, str]]) -> None:
    """Note that these targets, as (project id, target), have runs with a concurrency key."""
    rows = [{"project_id": project_id, "target": target} for project_id, target in sorted(names)]
    await DRIVER.run(connection, execute_many("add_keyed_target", rows))


async def add_audit_entries(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    await DRIVER.run(connection, add_entries(entries))


class RunEvent(NamedTuple):
    """A change of a run that webhooks may subscribe to."""

    run: Run
    event_type: str
    now: int


async def add_deliveries(connection: Connection, events: Sequence[RunEvent]) -> None:
    """Store the deliveries of events of runs, in the transaction of their changes."""
    project_ids = list({event.run.project_id for event in events})
    webhooks = await DRIVER.run(connection, select("enabled_webhooks", Webhook, project_ids=project_ids))
    new = [
        delivery
        for run, event_type, now in events
        for delivery in deliveries(
            run, event_type, (each for each in webhooks if each.project_id == run.project_id), now
        )
    ]
    if new:
        columns = {name: [getattr(each, name) for each in new] for name in Delivery.__struct_fields__}
        await DRIVER.run(connection, execute("add_deliveries", None, **columns))
