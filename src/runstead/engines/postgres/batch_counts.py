"""The counters of batches in PostgreSQL, spread over several rows so that few transactions wait for the same one.

A run is always counted in the same row. The transaction that ends the last active run of a row holds the row's lock,
and the one that closes the last row holds the batch's lock, so exactly one transaction completes the batch.
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
    """Add to the counters of the batches that exist. Call it last: many transactions need these locks."""
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
                raise asyncpg.SerializationError("the batch was completed during the wait for its counters")
