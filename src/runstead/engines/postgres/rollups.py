"""Roll-ups of usage and activity in PostgreSQL.

An advisory lock allows one tick at a time over all replicas. Entries have no order, so an entry whose transaction
commits late is added by a later tick.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from runstead.core import limits
from runstead.core.runs.run import Run, RunStatus
from runstead.core.usage.activity import Share
from runstead.core.usage.rollup import (
    FACT_FIELDS,
    Added,
    Additions,
    End,
    Entry,
    Facts,
    Line,
    Span,
    decode_facts,
    end_of,
    facts,
    gone,
    lines,
    moved,
    packed,
    uncoded,
    unpacked,
)
from runstead.core.usage.rollup_check import RollupChecker
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import BROKEN, Connection, connect_alone, trouble_with
from runstead.engines.postgres.page import shares
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import ROLLUPS, Q
from runstead.ports.store import ActivityQuery, UsagePage, UsageQuery, WaySums

T = TypeVar("T")
_STATUS: Final = FACT_FIELDS.index("status")


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
    return [End(seq, version, project_id, _facts(values)) for seq, version, project_id, *values in rows]


async def _not_rolled_up(connection: Connection, ends: Sequence[End]) -> set[int]:
    """The runs that neither the sums nor the entries contain. No tick adds them before the commit."""
    if await connection.fetchval(Q["rollup_backlog"]) is None:
        return set()
    await connection.execute(Q["share_rollup_lock"], ROLLUPS)
    return {row[0] for row in await connection.fetch(Q["not_rolled_up"], [end.run_seq for end in ends])}


class PostgresRollups:
    def __init__(self, url: str, writer: Writer, readers: Readers) -> None:
        self._url = url
        self._writer = writer
        self._readers = readers

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
        return await self._tick("rollup_backlog", _catch_up, limit)

    async def _tick(self, pending: str, add: Callable[[Connection, int], Awaitable[int]], limit: int) -> int:
        if await self._readers.row(Q[pending]) is None:
            return 0

        async def job(connection: Connection, _: int) -> int:
            return (
                await add(connection, limit)
                if await connection.fetchval(Q["try_rollup_lock"], ROLLUPS)
                else 0
            )

        return await self._writer.do(job)

    async def usage(self, query: UsageQuery) -> UsagePage:
        return await self._read(lambda c: _usage(c, query))

    async def families(self, project_id: str, span: Span, most: int) -> int:
        return await self._readers.report(
            lambda c: c.fetchval(Q["count_usage_families"], project_id, *span, most)
        )

    async def targets(self, project_id: str, most: int) -> list[str]:
        rows = await self._readers.report(lambda c: c.fetch(Q["activity_targets"], project_id, most))
        return [uncoded(row["name"]) or "" for row in rows]

    async def activity(self, query: ActivityQuery) -> list[Share] | None:
        return await self._read(lambda c: _activity(c, query))

    async def _read(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """Read in one snapshot."""

        async def job(connection: Connection) -> T:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await read(connection)

        return await self._readers.report(job)

    async def integrity(self) -> list[str]:
        try:
            connection = await connect_alone(self._url)
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    return await _check(connection)
            finally:
                await connection.close()
        except BROKEN as error:
            raise trouble_with(error, "read") from error


async def _catch_up(connection: Connection, limit: int) -> int:
    below_seq = await connection.fetchval(Q["rollup_backlog"])
    if below_seq is None:
        return 0
    runs = await connection.fetch(Q["rollup_backlog_runs"], below_seq, limit)
    found: list[Added] = [
        ("ended", project, _facts(values)) for _, project, counts, *values in runs if counts
    ]
    await _add(connection, Additions(found))
    if len(runs) < limit:
        await connection.execute(Q["end_rollup_backlog"])
        await connection.execute(Q["forget_rollup_open"], 0)
    else:
        await connection.execute(Q["move_rollup_backlog"], runs[-1][0])
        await connection.execute(Q["forget_rollup_open"], runs[-1][0])
    return len(runs)


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
    used, active = additions.emptied
    if used:
        await connection.execute(Q["drop_empty_usage"], *columns_of(used))
    if active:
        await connection.execute(Q["drop_empty_activity"], *columns_of(active))


def _facts(row: Iterable[Any]) -> Facts:
    values = list(row)
    values[_STATUS] = RunStatus(values[_STATUS])
    return facts(*values)


async def _usage(connection: Connection, query: UsageQuery) -> UsagePage:
    project = query.project_id
    rows: list[Facts] = []
    for since, until, over, under in query.edges:
        rows += await _read_facts(connection, Q["edge_facts"], project, over, under, since, until)
    truncated = False
    below_seq = await connection.fetchval(Q["rollup_backlog"])
    if below_seq is not None:
        most = limits.usage_backlog_max
        for _, since, until in query.cover.spans:
            arguments = (project, below_seq, since, until, most + 1)
            found = await _read_facts(connection, Q["backlog_facts"], *arguments)
            truncated = truncated or len(found) > most
            rows += found[:most]
    unsummed = query.pending(map(tuple, await connection.fetch(Q["rollup_entries_of"], project)), rows)

    async def sums(way: str, groups: int, *, by_model: bool = False) -> WaySums:
        spans = columns_of(query.spans(way)) or [[]] * 3
        added = columns_of(lines(way, unsummed)) or [[]] * 8
        found = await connection.fetch(Q["usage_lines"], project, way, *spans, *added, groups, by_model)
        return WaySums([Line(*row[:-1]) for row in map(tuple, found)], found[0][-1] if found else 0)

    ended = sum(line.runs for line in (await sums("ended", 1)).lines)
    active = await connection.fetchval(Q["count_active"], project, query.since, query.until)
    ways = {way: await sums(way, query.groups, by_model=way == "model") for way in query.ways}
    return UsagePage(ways, (await sums("model", 1)).lines, ended + active, truncated)


async def _read_facts(connection: Connection, sql: str, *arguments: Any) -> list[Facts]:
    """Read a few rows at a time, because metadata may be large."""
    return [_facts(row) async for row in connection.cursor(sql, *arguments, prefetch=200)]


async def _activity(connection: Connection, query: ActivityQuery) -> list[Share] | None:
    if await connection.fetchval(Q["rollup_backlog"]) is not None:
        return None
    project = query.filters.project_ids[0]
    found = query.merged()
    for span in query.spans:
        sums = await connection.fetch(Q["activity_between"], project, *query.way, *span)
        found.add(query.summed(map(tuple, sums)))
    found.add(query.pending(map(tuple, await connection.fetch(Q["rollup_entries_of"], project))))
    for rows in (query.living, *map(query.ended, query.edges)):
        if rows is not None:
            found.add(await shares(connection, rows, *query.where))
    return found.shares()


async def _check(connection: Connection) -> list[str]:
    checker = RollupChecker()
    async for project_id, *values in connection.cursor(Q["integrity_rollup_runs"], prefetch=1_000):
        checker.run(project_id, _facts(values))
    async for project_id, action, values in connection.cursor(Q["integrity_rollup_entries"], prefetch=1_000):
        checker.entry(project_id, action, decode_facts(values))
    for row in await connection.fetch(Q["integrity_usage"]):
        checker.usage(*row)
    async for row in connection.cursor(Q["integrity_activity"], prefetch=1_000):
        checker.activity(*row)
    return checker.wrong()
