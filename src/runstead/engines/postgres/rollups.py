"""Roll-ups of usage and activity in PostgreSQL.

An advisory lock allows one tick at a time over all replicas. Entries have no order, so an entry whose transaction
commits late is added by a later tick.
"""

from collections.abc import Awaitable, Callable, Sequence

from runstead.core.runs.run import Run
from runstead.core.usage.rollup import (
    Additions,
    End,
    Entry,
    decode_facts,
    end_of,
    gone,
    moved,
    packed,
    unpacked,
)
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection, session_alone
from runstead.engines.postgres.page import shares
from runstead.engines.postgres.related import DRIVER
from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import ROLLUPS, Q
from runstead.engines.sql.rollups import SqlRollups, drop_empty, facts_in
from runstead.engines.sql.steps import Database, value


async def note_gone(connection: Connection, runs: Sequence[Run]) -> None:
    """Note runs that this transaction deletes."""
    await _note_gone(connection, list(map(end_of, runs)))


async def note_deleted(connection: Connection, seqs: Sequence[int]) -> None:
    await _note_gone(connection, await _ends(connection, seqs))


async def note_moved(connection: Connection, seqs: Sequence[int], project_id: str) -> None:
    ends = await _ends(connection, seqs)
    missing = await _not_rolled_up(connection, ends)
    values = [entry for end in ends for entry in moved(end, project_id, rolled_up=end.run_seq not in missing)]
    await _note(connection, values)


async def _note_gone(connection: Connection, ends: Sequence[End]) -> None:
    missing = await _not_rolled_up(connection, ends)
    await _note(connection, [one for end in ends for one in gone(end, rolled_up=end.run_seq not in missing)])


async def _note(connection: Connection, entries: Sequence[Entry]) -> None:
    if entries:
        await connection.execute(Q["add_rollup_entries"], *columns_of(entries))


async def _ends(connection: Connection, seqs: Sequence[int]) -> list[End]:
    rows = await connection.fetch(Q["facts_of"], list(seqs))
    return [End(row["seq"], row["version"], row["project_id"], facts_in(row)) for row in rows]


async def _not_rolled_up(connection: Connection, ends: Sequence[End]) -> set[int]:
    """The runs that neither the sums nor the entries contain. No tick adds them before the commit."""
    if await DRIVER.run(connection, value("rollup_backlog")) is None:
        return set()
    await connection.execute(Q["share_rollup_lock"], ROLLUPS)
    return {row[0] for row in await connection.fetch(Q["not_rolled_up"], [end.run_seq for end in ends])}


class PostgresRollups(SqlRollups):
    def __init__(self, url: str, database: Database, writer: Writer) -> None:
        super().__init__(database, shares)
        self._url = url
        self._writer = writer

    async def add_entries(
        self, limit: int, count_tokens: Callable[[Sequence[int]], object] | None = None
    ) -> int:
        tokens: Sequence[int] = ()

        async def add(connection: Connection, limit: int) -> int:
            nonlocal tokens
            entries = await connection.fetch(Q["take_rollup_entries"], limit)
            additions = Additions(
                (action, project, decode_facts(values)) for action, project, values in entries
            )
            await _add(connection, additions)
            tokens = additions.ended_tokens
            return len(entries)

        added = await self._tick("any_rollup_entry", add, limit)
        if added and count_tokens is not None:
            count_tokens(tokens)
        return added

    async def catch_up(self, limit: int) -> int:
        return await self._tick(
            "rollup_backlog", lambda c, limit: DRIVER.run(c, self._catch_up(limit, _add)), limit
        )

    async def _tick(self, pending: str, add: Callable[[Connection, int], Awaitable[int]], limit: int) -> int:
        if await self._database.read(value, pending) is None:
            return 0

        async def job(connection: Connection, _: int) -> int:
            return (
                await add(connection, limit)
                if await connection.fetchval(Q["try_rollup_lock"], ROLLUPS)
                else 0
            )

        return await self._writer.do(job)

    async def integrity(self) -> list[str]:
        async with (
            session_alone(self._url, "read") as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await DRIVER.run(connection, self._check())


async def _add(connection: Connection, additions: Additions) -> None:
    if additions.usage:
        rows = [(*key, *sums) for key, sums in additions.usage.items()]
        await connection.execute(Q["add_usage"], *columns_of(rows))
    if additions.activity:
        keys = list(additions.activity)
        stored = await connection.fetch(Q["activity_durations"], *columns_of(keys))
        values = []
        for key, (before,) in zip(keys, stored, strict=True):
            runs, durations = additions.activity[key]
            if before is not None:
                durations.update(unpacked(before))
            values.append((*key, runs, packed(durations)))
        await connection.execute(Q["add_activity"], *columns_of(values))
    await DRIVER.run(connection, drop_empty(additions))
