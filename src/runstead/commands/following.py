"""Following a log live: replay, then whatever is appended, with nothing lost or told twice in between.

There is one log, the store's. A follower subscribes to hints before its first read, then reads by cursor whenever it
is woken, and also now and then without a hint. Followers of one log that stand at the same event share one read, and
each picks from it the types that it was asked for.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

from runstead import limits
from runstead.batch import Batch
from runstead.event import TERMINAL_TYPES, Event, FamilyEvent
from runstead.notifier import Notifier, batch_key, family_key, run_key
from runstead.run import Run
from runstead.store import FamilyPage, RunKey, Runs, Store

T = TypeVar("T")


class Sight(NamedTuple):
    """A run as it stood, and the events that were stored since the last look, in order."""

    run: Run
    events: Sequence[Event]


class Following:
    """The reads under way in this process, shared by what they read."""

    def __init__(self, store: Store, notifier: Notifier, stopping: asyncio.Event) -> None:
        self._store = store
        self._notifier = notifier
        self._stopping = stopping
        self._reads = _Reads()

    def follow(
        self, run: Run, after: int, types: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Event] | None]:
        """Batches of a run's events after a number, in order, until the terminal one; with `types`, those alone.
        None says that nothing was told for `limits.stream_heartbeat_s` seconds. Ends early when the server stops.
        """
        return self._follow(run_key(run.seq), _RunLog(self._store, self._reads, run, after, types))

    def follow_family(
        self, run: Run, after: int, types: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[FamilyEvent] | None]:
        """The same for a run and all below it, new ones included, after a position in the family; until the run and
        all below it have ended.
        """
        key = family_key(run.root_seq or run.seq)
        return self._follow(key, _FamilyLog(self._store, self._reads, run, after, types))

    async def watch(self, run: Run, after: int) -> AsyncGenerator[Sight | None, None]:
        """A run with its events after a number: at once, and again whenever something of it or its family was stored, also
        what is told by no event. Who takes their time sees more at once. None is a sign of life. Ends once the run has
        ended and all its events were seen, when it was deleted, and when the server stops.
        """
        loop = asyncio.get_running_loop()
        after = min(after, run.latest_event_id)
        last: tuple[int, int, int] | None = None
        quiet_until = loop.time() + limits.stream_heartbeat_s
        with self._notifier.subscribe(family_key(run.root_seq or run.seq)) as hint:
            while not self._stopping.is_set():
                stirred = hint.is_set()
                hint.clear()
                # The row first: events that came since are seen again with the next look, a status before its events never.
                now = await self._look(run, last)
                if now is None or now.seq != run.seq:
                    return
                events = await _next_events(self._store.runs, self._reads, run.seq, after)
                if events or stirred or _face(now) != last:
                    yield Sight(now, events)
                    last, after = _face(now), events[-1].event_id if events else after
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    if now.terminal and after >= now.latest_event_id:
                        return
                    if events:
                        continue
                left = quiet_until - loop.time()
                if left <= 0:
                    yield None
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, limits.stream_poll_s)):
                        await hint.wait()

    async def _look(self, run: Run, last: tuple[int, int, int] | None) -> Run | None:
        """One read for all who watch it."""
        key = RunKey(run.project_id, run.run_id)
        return await self._reads.share(
            ("run", run.seq), lambda: self._store.runs.get(key), lambda found: _face(found) != last
        )

    async def follow_batch(self, batch: Batch) -> AsyncIterator[Batch | None]:
        """A batch as it stands, then whenever its counters have moved, but not more often than once in
        `limits.batch_progress_interval_s`; until it is complete, or the server stops. None is a sign of life.
        """
        loop = asyncio.get_running_loop()
        last: Batch | None = None
        quiet_until = loop.time() + limits.stream_heartbeat_s
        with self._notifier.subscribe(batch_key(batch.id)) as hint:
            while not self._stopping.is_set():
                hint.clear()
                found = await self._read_batch(batch, last)
                if found != last:
                    yield found
                    if found.completed_at is not None:
                        return
                    last = found
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    with suppress(TimeoutError):
                        async with asyncio.timeout(limits.batch_progress_interval_s):
                            await self._stopping.wait()
                    continue
                left = quiet_until - loop.time()
                if left <= 0:
                    yield None
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, limits.stream_poll_s)):
                        await hint.wait()

    async def _read_batch(self, batch: Batch, last: Batch | None) -> Batch:
        """One read for all who follow it."""
        return (
            await self._reads.share(
                ("batch", batch.id),
                lambda: self._store.batches.get(batch.project_id, batch.id),
                lambda found: found != last,
            )
            or batch
        )

    async def _follow(self, key: str, log: "_Log[T]") -> AsyncIterator[Sequence[T] | None]:
        loop = asyncio.get_running_loop()
        quiet_until = loop.time() + limits.stream_heartbeat_s
        with self._notifier.subscribe(key) as hint:
            while not log.ended and not self._stopping.is_set():
                hint.clear()
                events, moved = await log.advance()
                if events:
                    yield events
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    continue
                left = quiet_until - loop.time()
                if left <= 0 and not log.ended:
                    yield None
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    await log.look()
                    continue
                if moved or log.ended:
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, limits.stream_poll_s)):
                        await hint.wait()


class _Reads:
    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    async def share(
        self, name: Hashable, read: Callable[[], Awaitable[T]], fruitful: Callable[[T], bool]
    ) -> T:
        """One read for all who ask for this now."""
        task: asyncio.Task[T] | None = self._under_way.get(name)
        if task is not None:
            found = await asyncio.shield(task)
            if fruitful(found):
                return found
            # That read may have begun before the commit whose hint the caller has just cleared. One that is under
            # way by now began after it.
            task = self._under_way.get(name)
        if task is None:
            task = asyncio.ensure_future(read())
            self._under_way[name] = task
            task.add_done_callback(lambda _: self._under_way.pop(name, None))
        return await asyncio.shield(task)


def _face(run: Run | None) -> tuple[int, int, int] | None:
    """What differs whenever a run does. The counters of what runs below move beside the version."""
    return None if run is None else (run.version, run.descendants_total, run.descendants_active)


async def _next_events(runs: Runs, reads: _Reads, seq: int, after: int) -> list[Event]:
    return await reads.share(
        (seq, after),
        lambda: runs.events(seq, after, limits.event_rows_max, limits.event_page_bytes_max),
        bool,
    )


class _Log(ABC, Generic[T]):
    """A follower's place in a log: `ended` once nothing more can come."""

    def __init__(self, store: Store, reads: _Reads, run: Run, after: int, types: Sequence[str]) -> None:
        self._runs = store.runs
        self._reads = reads
        self._run = run
        self._after = after
        self._types = frozenset(types)
        self.ended = False

    @abstractmethod
    async def advance(self) -> tuple[Sequence[T], bool]:
        """Go on by one read: the events that were asked for, and whether there were any at all."""

    @abstractmethod
    async def look(self) -> None:
        """Nothing came for a while: see whether the log is still there."""


class _RunLog(_Log[Event]):
    def __init__(self, store: Store, reads: _Reads, run: Run, after: int, types: Sequence[str]) -> None:
        # A cursor ahead of the log would wait for ever behind the terminal event.
        super().__init__(store, reads, run, min(after, run.latest_event_id), types)
        self.ended = run.terminal and self._after == run.latest_event_id

    async def advance(self) -> tuple[Sequence[Event], bool]:
        found = await _next_events(self._runs, self._reads, self._run.seq, self._after)
        if not found:
            return found, False
        self._after = found[-1].event_id
        self.ended = found[-1].type in TERMINAL_TYPES
        wanted = self._types
        return [event for event in found if event.type in wanted] if wanted else found, True

    async def look(self) -> None:
        """A run that was deleted has no terminal event to wait for."""
        self.ended = not await self._runs.exists(self._run.seq)


class _FamilyLog(_Log[FamilyEvent]):
    async def advance(self) -> tuple[Sequence[FamilyEvent], bool]:
        run, after = self._run, self._after
        page: FamilyPage = await self._reads.share(
            ("family", run.seq, after),
            lambda: self._runs.family_events(run, after, limits.event_rows_max, limits.event_page_bytes_max),
            lambda page: page.reached != after,
        )
        self._after = page.reached
        self.ended = page.ended and not page.more
        wanted = self._types
        told = [one for one in page.events if one.event.type in wanted] if wanted else page.events
        return told, page.reached != after

    async def look(self) -> None:
        """Nothing to do: every read tells whether the run is still there."""
