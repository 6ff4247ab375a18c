"""Runs in PostgreSQL: writes as commands for the batcher, reads as reads for the readers."""

from collections.abc import Sequence
from typing import Any, cast

from runstead import limits
from runstead.event import Event
from runstead.postgres.batch import Apply, Claim, referee_some
from runstead.postgres.batcher import Batcher
from runstead.postgres.page import page_sql
from runstead.postgres.readers import Readers
from runstead.postgres.rows import to_event, to_run
from runstead.postgres.sql import Q
from runstead.postgres.writer import Writer
from runstead.run import Run
from runstead.seal import Seal
from runstead.store import ClaimQuery, DecideOne, RunKey, RunQuery, Written
from runstead.transition import NOTHING_ELSE, Decide, EndedAttempt, Want


class PostgresRuns:
    def __init__(self, batcher: Batcher, writer: Writer, readers: Readers) -> None:
        self._batcher = batcher
        self._writer = writer
        self._readers = readers

    async def apply(
        self, key: RunKey, decide: Decide, want: Want = NOTHING_ELSE, seal: Seal | None = None
    ) -> Written:
        return cast(Written, await self._batcher.do(Apply(key, decide, want, seal)))

    async def claim(self, query: ClaimQuery, decide: DecideOne, seal: Seal | None = None) -> list[Run]:
        return cast(list[Run], await self._batcher.do(Claim(query, decide, seal)))

    async def referee(self, limit: int, decide: DecideOne) -> list[Written]:
        """Every replica may call it at the same time: each gets others."""
        return await self._writer.run(lambda transaction: referee_some(transaction, limit, decide))

    async def get(self, key: RunKey) -> Run | None:
        found = await self._many(Q["run_by_key"], *key[::-1])
        return found[0] if found else None

    async def find(self, run_id: str, project_ids: Sequence[str]) -> list[Run]:
        return await self._many(Q["runs_by_id"], run_id, list(project_ids))

    async def page(self, query: RunQuery) -> list[Run]:
        sql, arguments = page_sql(query)
        return await self._many(sql, *arguments)

    async def children(self, seq: int, limit: int) -> list[Run]:
        return await self._many(Q["children"], seq, limit)

    async def family(self, root_seq: int, limit: int) -> list[Run]:
        return await self._many(Q["family"], root_seq, limit)

    async def _many(self, sql: str, *arguments: Any) -> list[Run]:
        return [to_run(row) for row in await self._readers.rows(sql, *arguments)]

    async def attempts(self, seq: int) -> list[EndedAttempt]:
        rows = await self._readers.rows(Q["attempts"], seq)
        return [EndedAttempt(*row) for row in rows]

    async def events(
        self,
        seq: int,
        after: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
    ) -> list[Event]:
        after = min(after, limits.events_per_run_max)
        arguments = (
            seq,
            after,
            limit,
            list(types) or None,
            limits.integer_max if bytes_max is None else bytes_max,
        )
        rows = await self._readers.rows(Q["events_after"], *arguments)
        return [to_event(row) for row in rows]
