"""Runs in SQLite: writes as jobs for the writer, reads as reads for the readers."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.fair_share import FairShare
from runstead.core.runs.compensation import Compensation
from runstead.core.runs.event import Event
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.signal import Signal
from runstead.core.runs.transition import (
    NOTHING_ELSE,
    Decide,
    DecideFiring,
    EndedAttempt,
    Loaded,
    Want,
)
from runstead.core.runs.values import RunValue
from runstead.core.runs.write_set import cancel_below
from runstead.core.schedules.schedule import Schedule
from runstead.core.usage.activity import RunSummary, Share
from runstead.core.usage.usage import FamilyUsage
from runstead.engines.sql.budgets import held_back
from runstead.engines.sql.run_rows import PRIVATE
from runstead.engines.sqlite import families, queue, related
from runstead.engines.sqlite.compensations import compensations
from runstead.engines.sqlite.firings import load_due
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.load_run import (
    after_cancel,
    cancel_of_ancestor,
    event_bounds,
    find_run,
    find_runs,
    load_run,
)
from runstead.engines.sqlite.page import shares
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.related import (
    services_reaching,
)
from runstead.engines.sqlite.rows import (
    encode,
    takes_long,
    to_event,
    to_run,
)
from runstead.engines.sqlite.run_index import found, page_of, page_of_query
from runstead.engines.sqlite.sql import EVENT_BITS, Q
from runstead.engines.sqlite.write_run import store_write, write_run
from runstead.engines.sqlite.writer import Writer
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


class SqliteRuns:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._cache = writer.cache
        self._readers = readers

    async def apply(
        self,
        key: RunKey,
        decide: Decide,
        want: Want = NOTHING_ELSE,
        idempotency: IdempotencyRecord | None = None,
    ) -> Written:
        def job(connection: sqlite3.Connection, now: int) -> Written:
            loaded = load_run(connection, self._writer, key, want, now)
            cancel = None
            if self._cache.cancelling is None or self._cache.cancelling:
                cancel = cancel_of_ancestor(connection, self._cache, loaded)
            transition = decide(loaded if cancel is None else after_cancel(loaded, cancel))
            if cancel is not None or takes_long(loaded.run, transition):
                self._writer.leave_loop()
            if transition.schedule is not None:
                assert loaded.schedule is not None
                related.rewrite_schedule(connection, loaded.schedule, transition.schedule)
            if cancel is None:
                return write_run(
                    connection, self._cache, loaded.before(transition), transition, now, loaded.parent
                )
            settled = store_write(connection, self._cache, cancel, None)
            self._cache.drop(cancel.run.seq)
            written = write_run(connection, self._cache, cancel.run, transition, now)
            return replace(written.beside(settled), before=cancel.before)

        return await self._writer.do(idempotent(job, idempotency), quick=True)

    async def cancel_descendants(self, seq: int, after: int, limit: int) -> list[Written]:
        def job(connection: sqlite3.Connection, now: int) -> list[Written]:
            row = connection.execute(Q["run_by_seq"], (seq,)).fetchone()
            if row is None:
                return []
            run = to_run(row)
            assert run.status is RunStatus.CANCELLED, run.status
            path = f"/{seq}/"
            rows = connection.execute(
                Q["active_descendants"], (run.root_seq or seq, path, after, limit)
            ).fetchall()
            written = []
            for each in (cancel_below(run, to_run(row), now) for row in rows):
                written.append(Written.of(each).beside(store_write(connection, self._cache, each, None)))
                self._cache.drop(each.run.seq)
            if len(rows) < limit:
                connection.execute(Q["delete_family_cancel"], (seq,))
            self._cache.cancelling = None
            return written

        return await self._writer.do(job, keeps_cache=True)

    async def cancelling(self, limit: int) -> list[int]:
        return await self._readers.do(lambda c: [seq for (seq,) in c.execute(Q["cancelling"], (limit,))])

    async def claim(
        self, query: ClaimRequest, decide: DecideOne, idempotency: IdempotencyRecord | None = None
    ) -> list[Run]:
        def job(connection: sqlite3.Connection, now: int) -> list[Run]:
            runs = queue.claimable_runs(connection, self._writer, query, now)
            if len(runs) > limits.loop_runs_max:
                self._writer.leave_loop()
            ledger = related.ledger_of(connection, self._cache, query.project_id, runs, now) if runs else None
            return [
                write_run(connection, self._cache, run, held_back(run, ledger) or decide(run, now), now).run
                for run in runs
            ]

        return await self._writer.do(idempotent(job, idempotency), quick=True)

    async def next_available(self, project_id: str, kinds: Sequence[str], since_ms: int) -> int | None:
        now = self._writer.now()
        arguments = (project_id, encode(kinds).decode(), now - since_ms)
        (soonest,) = await self._readers.do(lambda c: c.execute(Q["next_available"], arguments).fetchone())
        return None if soonest is None else max(soonest - now, 0)

    async def enforce_deadlines(self, limit: int, decide: DecideOne) -> list[Written]:
        def job(connection: sqlite3.Connection, now: int) -> list[Written]:
            written = []
            for seq in queue.due_seqs(connection, now, limit):
                run = to_run(connection.execute(Q["run_by_seq"], (seq,)).fetchone())
                cancel = cancel_of_ancestor(connection, self._cache, Loaded(now, run))
                if cancel is None:
                    written.append(write_run(connection, self._cache, run, decide(run, now), now))
                else:
                    written.append(
                        Written.of(cancel).beside(store_write(connection, self._cache, cancel, None))
                    )
                    self._cache.drop(run.seq)
            return written

        return await self._writer.do(job)

    async def next_due(self) -> int | None:
        (at,) = await self._readers.do(lambda c: c.execute(Q["next_due"]).fetchone())
        return None if at is None else max(at - self._writer.now(), 0)

    async def dispatch(self, share: FairShare, decide: DecidePush, after: str = "") -> list[Run]:
        def job(connection: sqlite3.Connection, now: int) -> list[Run]:
            written = []
            for run in queue.due_pushes(connection, now, share, after):
                if families.cancelled_ancestor(connection, self._cache, run) is not None:
                    continue
                services = services_reaching(connection, (run.project_id,), now)
                ledger = related.ledger_of(connection, self._cache, run.project_id, [run], now)
                push = held_back(run, ledger) or decide(run, now, services)
                written.append(write_run(connection, self._cache, run, push, now).run)
            return written

        return await self._writer.do(job)

    async def fire(self, limit: int, decide: DecideFiring) -> list[WrittenFiring]:
        def job(connection: sqlite3.Connection, now: int) -> list[WrittenFiring]:
            return [
                _fire(connection, self._writer, schedule, decide, now)
                for schedule in related.due_schedules(connection, now, limit)
            ]

        return await self._writer.do(job)

    async def cancelled_pushes(self, share: FairShare) -> list[Run]:
        arguments = encode(share.busy).decode(), encode(share.full).decode(), share.limit
        return await self._readers.do(lambda c: find_runs(c, "cancelled_pushes", arguments))

    async def get(self, key: RunKey) -> Run | None:
        return await self._readers.do(lambda c: find_run(c, key))

    async def find(self, run_id: str, project_ids: Sequence[str]) -> list[Run]:
        arguments = (run_id, encode(project_ids).decode())
        return await self._readers.do(lambda c: find_runs(c, "runs_by_id", arguments))

    async def page(self, query: RunQuery) -> ListPage[Run]:
        return await self._readers.scan(lambda c: page_of_query(c, query))

    async def summaries(self, query: RunQuery) -> list[RunSummary]:
        return await self._readers.scan(lambda c: found(c, query))

    async def shares(self, query: RunQuery, origin: int, width: int) -> list[Share]:
        return await self._readers.scan(lambda c: shares(c, query, origin, width))

    async def children(self, seq: int, page: SeqPage, kind: str | None = None) -> ListPage[Run]:
        arguments = (seq, page.limit + 1, page.after, kind)
        return await self._readers.scan(lambda c: page_of(c, c.execute(Q["children"], arguments), page))

    async def family(self, root_seq: int, page: SeqPage, under: int | None = None) -> ListPage[Run]:
        arguments: list[Any] = [root_seq, page.limit + 1, page.after]
        name = "family" if under in (None, root_seq) else "subtree"
        if name == "subtree":
            arguments.append(f"/{under}/")
        return await self._readers.scan(lambda c: page_of(c, c.execute(Q[name], arguments), page))

    async def attempts(
        self, seq: int, after: int = 0, bytes_max: int | None = None
    ) -> ListPage[EndedAttempt]:
        def read(connection: sqlite3.Connection) -> ListPage[EndedAttempt]:
            found: list[EndedAttempt] = []
            size = 0
            for row in connection.execute(Q["attempts"], (seq, after)):
                attempt = EndedAttempt(*row)
                size += limits.attempt_bytes + len(attempt.error or b"")
                if found and bytes_max is not None and size > bytes_max:
                    return ListPage(found, more=True)
                found.append(attempt)
            return ListPage(found, more=False)

        return await self._readers.do(read)

    async def events(
        self,
        seq: int,
        after: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
        known: int = 0,
    ) -> list[Event]:
        del known  # there is no standby
        first, last, hidden, _ = event_bounds(seq, after, PRIVATE, limit)
        name = "events_of_types" if types else "events_between"
        return await self._events(name, (first, last, hidden), limit, bytes_max, types)

    async def events_before(
        self,
        seq: int,
        before: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
        known: int = 0,
    ) -> list[Event]:
        del known
        first = seq << EVENT_BITS
        bounds = (first, first + min(before, limits.events_per_run_max + 1), PRIVATE)
        name = "events_of_types_backwards" if types else "events_backwards"
        return (await self._events(name, bounds, limit, bytes_max, types))[::-1]

    async def _events(
        self, name: str, bounds: tuple[int, ...], limit: int, bytes_max: int | None, types: Sequence[str]
    ) -> list[Event]:
        arguments = (*bounds, encode(types).decode(), limit) if types else (*bounds, limit)

        def read(connection: sqlite3.Connection) -> list[Event]:
            events: list[Event] = []
            size = 0
            for row in connection.execute(Q[name], arguments):
                event = to_event(row)
                size += len(event.payload)
                if bytes_max is not None and size > bytes_max and events:
                    break
                events.append(event)
            return events

        return await (self._readers.scan(read) if types else self._readers.do(read))

    async def event(self, seq: int, event_id: int) -> Event | None:
        def read(connection: sqlite3.Connection) -> Event | None:
            row = connection.execute(Q["event"], ((seq << EVENT_BITS) + event_id, PRIVATE)).fetchone()
            return None if row is None else to_event(row)

        return await self._readers.do(read) if 0 < event_id <= limits.events_per_run_max else None

    async def event_counts(self, seq: int) -> list[TypeCount]:
        bounds = event_bounds(seq, 0, PRIVATE, 0)[:3]
        return await self._readers.scan(
            lambda c: [TypeCount(*row) for row in c.execute(Q["event_counts"], bounds)]
        )

    async def signals(
        self, seq: int, after: int, limit: int, bytes_max: int, *, taken: bool | None = None
    ) -> ListPage[Signal]:
        def read(connection: sqlite3.Connection) -> ListPage[Signal]:
            found: list[Signal] = []
            size = 0
            for row in connection.execute(Q["signals"], (seq, after, taken, limit + 1)):
                signal = Signal(*row)
                size += len(signal.payload)
                if len(found) == limit or (found and size > bytes_max):
                    return ListPage(found, more=True)
                found.append(signal)
            return ListPage(found, more=False)

        return await self._readers.do(read)

    async def compensations(self, seq: int) -> list[Compensation]:
        return await self._readers.do(lambda c: compensations(c, seq))

    async def values(self, seq: int, name: str | None = None) -> list[RunValue]:
        return await self._readers.do(
            lambda c: [RunValue(*row) for row in c.execute(Q["values"], (seq, name))]
        )

    async def family_events(
        self, run: Run, after: int, limit: int, bytes_max: int | None = None, types: Sequence[str] = ()
    ) -> FamilyPage:
        return await self._readers.scan(lambda c: families.page(c, run, after, limit, bytes_max, types))

    async def usage(self, run: Run) -> FamilyUsage:
        return await self._readers.scan(lambda c: families.usage(c, run))

    async def latest_event_ids(self, seqs: Sequence[int]) -> dict[int, int]:
        given = encode(seqs).decode()
        return await self._readers.do(lambda c: dict(c.execute(Q["latest_event_ids"], (given,)).fetchall()))


def _fire(
    connection: sqlite3.Connection, writer: Writer, schedule: Schedule, decide: DecideFiring, now: int
) -> WrittenFiring:
    cache = writer.cache
    due = load_due(connection, writer, schedule, now)
    fired = decide(due)
    if fired.schedule is None:
        related.delete_schedule(connection, schedule)
    elif fired.schedule is not schedule:
        related.rewrite_schedule(connection, schedule, fired.schedule)
    written = []
    if fired.transition is not None:
        before = due.before(fired.transition)
        written.append(write_run(connection, cache, before, fired.transition, now))
    for run, transition in zip(due.running, fired.cancels, strict=bool(fired.cancels)):
        written.append(write_run(connection, cache, run, transition, now))
    return WrittenFiring(schedule, fired, tuple(written))
