"""Reads and writes of other entities in the transactions of runs, in PostgreSQL."""

from collections.abc import Sequence
from typing import Final

from runstead.core import limits
from runstead.core.conversations.conversation import Conversation
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.queue.concurrency import ConcurrencySlots
from runstead.core.queue.push_service import PushService
from runstead.core.runs.transition import Want
from runstead.engines.postgres.commit.transaction import Transaction
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.sql import DIALECT
from runstead.engines.sql import concurrency, conversations, inputs, push_services
from runstead.engines.sql.postgres_driver import PostgresDriver
from runstead.engines.sql.steps import LockSpace, lock

DRIVER: Final = PostgresDriver(DIALECT, lambda time: time)


async def lock_slots(transaction: Transaction, project_ids: Sequence[str]) -> ConcurrencySlots:
    """Lock the concurrency slots of the projects until the transaction ends, and return the free ones. Read the time
    again, since the transaction may have waited for the lock.
    """
    if not project_ids:
        return ConcurrencySlots({})
    await DRIVER.run(transaction.connection, lock(LockSpace.RUNNING, project_ids))
    # A separate statement, so that it sees commits made during the wait.
    rows = await DRIVER.run(transaction.connection, concurrency.occupied(project_ids, limits.running_max))
    for now, _ in rows:
        transaction.advance(now)
    return ConcurrencySlots(
        {(row.project_id, row.target or None): row.max_running - row.running for _, row in rows}
    )


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
