"""Runs in PostgreSQL: writes go through the group commit, reads through the readers."""

from collections.abc import Sequence
from typing import Any, cast

from runstead.core import limits
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.fair_share import FairShare
from runstead.core.runs.compensation import Compensation
from runstead.core.runs.event import Event
from runstead.core.runs.run import Run
from runstead.core.runs.signal import Signal
from runstead.core.runs.transition import NOTHING_ELSE, Decide, DecideFiring, EndedAttempt, Want
from runstead.core.runs.values import RunValue
from runstead.core.usage.activity import RunSummary, Share
from runstead.core.usage.usage import FamilyUsage
from runstead.engines.postgres import families, session_limits
from runstead.engines.postgres.commit.commands import Apply, Claim
from runstead.engines.postgres.commit.group import GroupCommit
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.commit.transaction import Clock
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.due import dispatch_some, enforce_some
from runstead.engines.postgres.firings import fire_some
from runstead.engines.postgres.page import shares
from runstead.engines.postgres.readers import Readers, rows
from runstead.engines.postgres.rows import to_run
from runstead.engines.postgres.run_index import found, page_of, page_of_query
from runstead.engines.postgres.sql import CLOCK, Q
from runstead.engines.sql.run_rows import to_event
from runstead.ports.store import (
    ClaimRequest,
    DecideOne,
    DecidePush,
    FamilyPage,
    ListPage,
    RunKey,
    RunQuery,
    SeqPage,
    TypeCount,
    Written,
    WrittenFiring,
)


class PostgresRuns:
    def __init__(self, group_commit: GroupCommit, writer: Writer, readers: Readers, clock: Clock) -> None:
        self._clock = clock
        self._group_commit = group_commit
        self._writer = writer
        self._readers = readers

    async def apply(
        self,
        key: RunKey,
        decide: Decide,
        want: Want = NOTHING_ELSE,
        idempotency: IdempotencyRecord | None = None,
    ) -> Written:
        return cast(Written, await self._group_commit.do(Apply(key, decide, want, idempotency)))

    async def cancel_descendants(self, seq: int, after: int, limit: int) -> list[Written]:
        del seq, after, limit  # they are cancelled with the run
        return []

    async def cancelling(self, limit: int) -> list[int]:
        del limit
        return []

    async def claim(
        self, query: ClaimRequest, decide: DecideOne, idempotency: IdempotencyRecord | None = None
    ) -> list[Run]:
        return cast(list[Run], await self._group_commit.do(Claim(query, decide, idempotency)))

    async def next_available(self, project_id: str, kinds: Sequence[str], since_ms: int) -> int | None:
        async def read(connection: Connection) -> int | None:
            now = self._clock.tick(await connection.fetchval(f"SELECT {CLOCK}"))
            at = await connection.fetchval(Q["next_available"], project_id, list(kinds), now - since_ms)
            return None if at is None else max(at - now, 0)

        return await self._readers.do(read)

    async def enforce_deadlines(self, limit: int, decide: DecideOne) -> list[Written]:
        """Replicas may call it at the same time: each gets other runs."""
        return await self._writer.run(lambda transaction: enforce_some(transaction, limit, decide))

    async def next_due(self) -> int | None:
        async def read(connection: Connection) -> int | None:
            now = self._clock.tick(await connection.fetchval(f"SELECT {CLOCK}"))
            at = await connection.fetchval(Q["next_due"])
            return None if at is None else max(at - now, 0)

        return await self._readers.do(read)

    async def dispatch(self, share: FairShare, decide: DecidePush, after: str = "") -> list[Run]:
        """Replicas may call it at the same time: each gets other runs."""
        return await self._writer.run(lambda transaction: dispatch_some(transaction, share, decide, after))

    async def fire(self, limit: int, decide: DecideFiring) -> list[WrittenFiring]:
        return await self._writer.run(lambda transaction: fire_some(transaction, limit, decide))

    async def cancelled_pushes(self, share: FairShare) -> list[Run]:
        return await self._many(Q["cancelled_pushes"], list(share.busy), share.full, share.limit)

    async def get(self, key: RunKey) -> Run | None:
        found = await self._many(Q["run_by_key"], *key[::-1])
        return found[0] if found else None

    async def find(self, run_id: str, project_ids: Sequence[str]) -> list[Run]:
        return await self._many(Q["runs_by_id"], run_id, list(project_ids))

    async def page(self, query: RunQuery) -> ListPage[Run]:
        return await page_of_query(self._readers, query)

    async def summaries(self, query: RunQuery) -> list[RunSummary]:
        return await found(self._readers, query)

    async def shares(self, query: RunQuery, origin: int, width: int) -> list[Share]:
        return await self._readers.page(lambda c: shares(c, query, origin, width))

    async def children(self, seq: int, page: SeqPage, kind: str | None = None) -> ListPage[Run]:
        return await page_of(self._readers, "children", page, seq, page.limit + 1, page.after, kind)

    async def family(self, root_seq: int, page: SeqPage, under: int | None = None) -> ListPage[Run]:
        arguments = root_seq, page.limit + 1, page.after
        if under in (None, root_seq):
            return await page_of(self._readers, "family", page, *arguments)
        return await page_of(self._readers, "subtree", page, *arguments, f"/{under}/")

    async def _many(self, sql: str, *arguments: Any) -> list[Run]:
        return [to_run(row) for row in await self._readers.rows(sql, *arguments)]

    async def attempts(
        self, seq: int, after: int = 0, bytes_max: int | None = None
    ) -> ListPage[EndedAttempt]:
        most = limits.integer_max if bytes_max is None else bytes_max
        rows = await self._readers.rows(Q["attempts"], seq, after, most, limits.attempt_bytes)
        more = bool(rows) and rows[0]["found"] > len(rows)
        return ListPage([EndedAttempt(*tuple(row)[:-1]) for row in rows], more)

    async def events(
        self,
        seq: int,
        after: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
        known: int = 0,
    ) -> list[Event]:
        after = min(after, limits.events_per_run_max)
        arguments = (
            seq,
            after,
            limit,
            list(types) or None,
            limits.integer_max if bytes_max is None else bytes_max,
        )
        if _is_history(known - after, limit, types):
            found = await self._history(Q["events_after"], types, known, *arguments)
            if found:  # else all that are known are private
                return found
        return await self._events(Q["events_after"], types, *arguments)

    async def _events(self, sql: str, types: Sequence[str], *arguments: Any) -> list[Event]:
        """With types, it may read the whole log."""
        read = self._readers.scan if types else self._readers.do
        return [to_event(row) for row in await read(lambda c: rows(c, sql, *arguments))]

    async def _history(self, sql: str, types: Sequence[str], known: int, *arguments: Any) -> list[Event]:
        """The events up to `known`: a standby may have later ones whose commit is not acknowledged, and may be lost."""
        read = self._readers.page if types else self._readers.history
        found = await read(lambda c: rows(c, sql, *arguments))
        return [event for event in map(to_event, found) if event.event_id <= known]

    async def events_before(
        self,
        seq: int,
        before: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
        known: int = 0,
    ) -> list[Event]:
        before = min(before, limits.events_per_run_max + 1)
        most = limits.integer_max if bytes_max is None else bytes_max
        arguments = seq, before, limit, list(types) or None, most
        if before <= known + 1 and _is_history(before, limit, types):
            return await self._history(Q["events_before"], types, known, *arguments)
        return await self._events(Q["events_before"], types, *arguments)

    async def event(self, seq: int, event_id: int) -> Event | None:
        if not 0 < event_id <= limits.events_per_run_max:
            return None
        row = await self._readers.row(Q["event"], seq, event_id)
        return None if row is None else to_event(row)

    async def event_counts(self, seq: int) -> list[TypeCount]:
        found = await self._readers.page(lambda c: rows(c, Q["event_counts"], seq))
        return [TypeCount(*row) for row in found]

    async def family_events(
        self, run: Run, after: int, limit: int, bytes_max: int | None = None, types: Sequence[str] = ()
    ) -> FamilyPage:
        if types:  # none is stored with a NUL
            types = [name for name in types if "\0" not in name] or [""]
        return await self._readers.scan(lambda c: families.page(c, run, after, limit, bytes_max, types))

    async def usage(self, run: Run) -> FamilyUsage:
        return await self._readers.report(lambda c: families.usage(c, run))

    async def signals(
        self, seq: int, after: int, limit: int, bytes_max: int, *, taken: bool | None = None
    ) -> ListPage[Signal]:
        rows = await self._readers.rows(Q["signals"], seq, after, taken, limit + 1, bytes_max)
        more = bool(rows) and rows[0]["found"] > min(len(rows), limit)
        return ListPage([Signal(*tuple(row)[:-1]) for row in rows[:limit]], more)

    async def compensations(self, seq: int) -> list[Compensation]:
        return [Compensation(*row) for row in await self._readers.rows(Q["compensations"], seq)]

    async def values(self, seq: int, name: str | None = None) -> list[RunValue]:
        return [RunValue(*row) for row in await self._readers.rows(Q["values"], seq, name)]

    async def latest_event_ids(self, seqs: Sequence[int]) -> dict[int, int]:
        return dict(await self._readers.rows(Q["latest_event_ids"], list(seqs)))


def _is_history(span: int, limit: int, types: Sequence[str]) -> bool:
    """Whether a read of events is large enough for a standby. With types, it may read the whole span for one event."""
    return (span if types else min(span, limit)) >= session_limits.standby_events_min
