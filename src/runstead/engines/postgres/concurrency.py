"""Limits on running runs, in PostgreSQL.

Whoever claims in a project that has limits holds the project's lock from before it counts until its commit, so the next
one counts what it took. Projects without limits take no lock.
"""

from collections.abc import Sequence

from runstead.core import limits as bounds
from runstead.core.queue.concurrency import ConcurrencyLimit, ConcurrencySlots, Occupancy
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.commit.transaction import Transaction
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import RUNNING_IN, Q


async def lock_slots(transaction: Transaction, project_ids: Sequence[str]) -> ConcurrencySlots:
    """What the limits of these projects leave, until this transaction ends. The transaction's time is told anew: it
    may have waited.
    """
    if not project_ids:
        return ConcurrencySlots({})
    await transaction.connection.execute(Q["lock_names"], RUNNING_IN, list(project_ids))
    # A statement of its own, so that it sees what was committed while this one waited.
    rows = await transaction.connection.fetch(Q["occupancies"], list(project_ids), bounds.running_max)
    for row in rows:
        transaction.advance(row["now"])
    return ConcurrencySlots({(row[0], row[1] or None): row[2] - row[3] for row in rows})


async def _occupancies(connection: Connection, project_id: str) -> list[Occupancy]:
    rows = await connection.fetch(Q["occupancies"], [project_id], bounds.running_told_max)
    return [Occupancy(ConcurrencyLimit(row[1] or None, row[2]), row[3]) for row in rows]


class PostgresConcurrency:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def put(self, project_id: str, limits: Sequence[ConcurrencyLimit]) -> list[Occupancy]:
        async def job(connection: Connection, _now: int) -> list[Occupancy]:
            await connection.execute(Q["lock_names"], RUNNING_IN, [project_id])
            await connection.execute(Q["drop_concurrency_limits"], project_id)
            await connection.execute(
                Q["add_concurrency_limits"],
                project_id,
                [limit.target or "" for limit in limits],
                [limit.max_running for limit in limits],
            )
            return await _occupancies(connection, project_id)

        return await self._writer.do(job)

    async def of(self, project_id: str) -> list[Occupancy]:
        return await self._readers.do(lambda connection: _occupancies(connection, project_id))
