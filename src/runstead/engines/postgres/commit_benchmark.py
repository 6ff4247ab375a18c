"""The upper bound of the engine's throughput: the smallest durable write from concurrent callers."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import NamedTuple

from runstead.engines.postgres.commit.group import GroupCommit
from runstead.engines.postgres.commit.lanes import Outcome
from runstead.engines.postgres.commit.transaction import Clock, Transaction
from runstead.engines.postgres.connection import BROKEN, address, connect_alone, plainly
from runstead.engines.postgres.sql import CLOCK
from runstead.ports.store import RunKey


class _Update(NamedTuple):
    """A command of the group commit."""

    row: int
    project_id: str = ""
    lane: RunKey = RunKey("", "")
    is_rare: bool = False


async def updates_per_second(url: str, concurrency: int, seconds: float) -> float:
    """Group-committed single-row updates/s at the server's own durability, in a table that is dropped afterwards.

    RuntimeError if the database cannot be reached.
    """
    table = f"bench_floor_{secrets.token_hex(4)}"
    statement = f"UPDATE {table} SET n = n + 1 WHERE id = ANY ($1::bigint[])"  # noqa: S608 - our own name
    fill = f"INSERT INTO {table} SELECT id, 0 FROM generate_series(1, $1::bigint) AS id"  # noqa: S608 - our own name
    try:
        admin = await connect_alone(url)
    except (*BROKEN, ValueError) as trouble:
        raise RuntimeError(f"cannot use the database {address(url)}: {plainly(trouble)}") from trouble
    done = 0

    async def decide(
        transaction: Transaction, updates: Sequence[_Update], *, alone: bool, waits: bool
    ) -> list[Outcome]:
        del alone, waits
        # As in every commit group, first read the time and the transaction's id.
        row = await transaction.connection.fetchrow(f"SELECT {CLOCK}, pg_current_xact_id()::text")
        transaction.see(row[0], row[1])
        await transaction.connection.execute(statement, [update.row for update in updates])
        return [(None, None)] * len(updates)

    try:
        await admin.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, n bigint NOT NULL)")
        await admin.execute(fill, concurrency)
        group_commit = GroupCommit(url, Clock(None), decide)
        began = time.perf_counter()

        async def caller(row: int) -> None:
            nonlocal done
            while time.perf_counter() - began < seconds:
                await group_commit.do(_Update(row))
                done += 1

        try:
            await asyncio.gather(*(caller(row) for row in range(1, concurrency + 1)))
            return done / (time.perf_counter() - began)
        finally:
            await group_commit.close()
    finally:
        await admin.execute(f"DROP TABLE IF EXISTS {table}")
        await admin.close()
