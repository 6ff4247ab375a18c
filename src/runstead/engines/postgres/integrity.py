"""Looks over the whole database, page by page, each page from one moment: a check of hours holds up no vacuum."""

from collections import defaultdict
from typing import Any, Final

from runstead.core.runs.invariants import BELONGINGS, CheckedRun, FamilyFacts, LogFacts, ParentFacts
from runstead.engines.postgres.connection import BROKEN, Connection, connect_alone, trouble_with
from runstead.engines.postgres.rows import to_run
from runstead.engines.postgres.sql import Q
from runstead.ports.store import IntegrityPage, Stats, TableSize

_SEQ_MAX: Final = (1 << 62) - 1


class PostgresIntegrity:
    """One session of its own, without the bounds of the others: a page may take its time, and is planned freely."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    async def _session(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect_alone(self._url)
        return self._connection

    async def latest_seq(self) -> int:
        [row] = await self._ask("audit_latest_seq")
        return int(row[0])

    async def _ask(self, query: str) -> list[Any]:
        try:
            return list(await (await self._session()).fetch(Q[query]))
        except BROKEN as trouble:
            raise trouble_with(trouble, "read") from trouble

    async def runs(self, after: int, limit: int) -> IntegrityPage:
        try:
            connection = await self._session()
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await _page(connection, after, limit)
        except BROKEN as trouble:
            raise trouble_with(trouble, "read") from trouble

    async def others(self, check: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in await self._ask(f"check_{check}")]

    async def stats(self) -> Stats:
        rows = await self._ask("stats_runs")
        [(size, log_size)] = await self._ask("stats_bytes")
        runs, events = sum(row[1] for row in rows), sum(row[2] for row in rows)
        pending = [row[3] for row in rows if row[3] is not None]
        return Stats(
            engine="postgres",
            bytes=size,
            log_bytes=log_size,
            tables=[TableSize(*row) for row in await self._ask("stats_tables")],
            runs={row[0]: row[1] for row in rows},
            oldest_pending_at=min(pending, default=None),
            events_per_run=events / runs if runs else None,
        )

    async def medium(self) -> list[str]:
        rows = await self._ask("audit_invalid_indexes")
        return [f"PostgreSQL calls the index {index} of {table} invalid: REINDEX it" for index, table in rows]

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


async def _page(connection: Connection, after: int, limit: int) -> IntegrityPage:
    runs = [to_run(row) for row in await connection.fetch(Q["audit_runs"], after, limit)]
    more = len(runs) == limit
    between = (after, runs[-1].seq if more else _SEQ_MAX)

    async def ask(name: str) -> dict[int, Any]:
        rows = await connection.fetch(Q[f"audit_{name}"], *between)
        return {row[0]: tuple(row)[1:] for row in rows}

    logs, ends, below, parents = (
        await ask("logs"),
        await ask("ends"),
        await ask("below"),
        await ask("parents"),
    )
    attempts, keys = await ask("attempts"), await ask("keys")
    gaps, placed, stored = await ask("gaps"), await ask("placed"), await ask("stored")
    inputs: dict[int, list[str]] = defaultdict(list)
    for seq, request_id in await connection.fetch(Q["audit_inputs"], *between):
        inputs[seq].append(request_id)
    audited = []
    for run in runs:
        seq = run.seq
        lost, latest_ended = attempts.get(seq, (0, 0))
        facts = [int(found.get(seq, (0,))[0]) for found in (gaps, placed, stored)]
        total, active = below.get(seq, (0, 0))
        one = CheckedRun(
            run=run,
            log=LogFacts(*logs.get(seq, (0,) * 7), *ends.get(seq, (None, None))),
            children=(int(total), int(active)),
            parent=ParentFacts(*parents[seq]) if seq in parents else None,
            attempts_lost=lost,
            latest_ended_attempt=latest_ended,
            latest_keyed_event=keys.get(seq, (0,))[0],
            open_inputs=tuple(inputs.get(seq, ())),
            family=FamilyFacts(*facts),
        )
        audited.append(one)
    orphans = []
    for table in BELONGINGS:
        rows = await connection.fetch(_orphans(table), *between)
        orphans += [(table, row[0]) for row in rows]
    return IntegrityPage(audited, orphans, runs[-1].seq if runs else after, more)


def _orphans(table: str) -> str:
    """Events of runs that retention deleted may wait for the end of their partition."""
    left = (
        " AND NOT EXISTS (SELECT 1 FROM run_leftovers AS l"
        " WHERE l.run_created_at = t.run_created_at AND l.run_seq = t.run_seq)"
    )
    return (
        f"SELECT DISTINCT run_seq FROM {table} AS t WHERE run_seq > $1 AND run_seq <= $2"  # noqa: S608 - our own names
        " AND NOT EXISTS (SELECT 1 FROM runs WHERE seq = t.run_seq)" + (left if table == "run_events" else "")
    )
