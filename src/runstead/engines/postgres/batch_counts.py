"""The counters of batches in PostgreSQL: spread over rows, so that few transactions wait for the same one.

A run is always counted in the same row. Who ends the last active run of a row knows it, since the row is held; who
closes the last row of a batch knows that too, since the batch is held then: exactly one transaction completes it.
"""

from collections import defaultdict

import asyncpg

from runstead.core.batches.batch import Batch, Tally
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.related import DRIVER
from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.steps import first


async def load_batch(connection: Connection, batch_id: str) -> Batch | None:
    return await DRIVER.run(connection, first("batch", Batch, id=batch_id))


async def count(connection: Connection, tally: Tally) -> None:
    """Move the counters of the batches that are there. Last of all: what it locks, many want."""
    rows = [
        (*place, moved.started_at, *moved.counts)
        for place, moved in tally.moved.items()
        if any(moved.counts) or moved.started_at is not None
    ]
    if not rows:
        return
    opened: dict[str, int] = defaultdict(int)
    ends: dict[str, int] = {}
    for project_id, batch_id, slot, active in await connection.fetch(Q["count_batches"], *columns_of(rows)):
        moved = tally.moved[project_id, batch_id, slot]
        opened[batch_id] += (active > 0) - (active - moved.active > 0)
        ends[batch_id] = max(ends.get(batch_id, 0), moved.at)
    for batch_id in sorted(opened):
        if opened[batch_id]:
            written = await connection.execute(Q["open_batch"], batch_id, opened[batch_id], ends[batch_id])
            if written != "UPDATE 1":
                raise asyncpg.SerializationError("the batch was completed while its counters were waited for")
