"""Following a log live: replay, then whatever is appended, with nothing lost or told twice in between.

There is one log, the store's. A follower subscribes to hints before its first read, then reads by cursor whenever it
is woken, and also now and then without a hint. Followers of one log that stand at the same event share one read and the
frames made of it (`tail.py`), and each picks from it the types that it was asked for.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import structlog

from runstead.commands.tail import Page, Tail, Typed
from runstead.core import limits
from runstead.core.batches.batch import Batch
from runstead.core.errors import Error
from runstead.core.runs.event import TERMINAL_TYPES, Event, FamilyEvent
from runstead.core.runs.run import Run
from runstead.ports.notifier import Notifier, batch_key, family_key, run_key
from runstead.ports.store import RunKey, Runs, Store

log = structlog.get_logger(__name__)

T = TypeVar("T")
E = TypeVar("E", bound=Typed)


class RunUpdate(NamedTuple):
    """A run as it stood, and the events that were stored since the last look, in order."""

    run: Run
    events: Sequence[Event]


class Followers:
    """The logs that are followed in this process, and the reads under way, shared by what they read."""

    def __init__(self, store: Store, notifier: Notifier, stopping: asyncio.Event) -> None:
        self._store = store
        self._notifier = notifier
        self._stopping = stopping
        self._reads = _Reads()
        self._tails: dict[str, Tail[Any]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = 0.0
        self._looking: asyncio.Task[None] | None = None

    def follow(
        self, run: Run, after: int, to_frame: Callable[[Event], bytes], types: Sequence[str] = ()
    ) -> AsyncGenerator[bytes | None, None]:
        """The frames of a run's events after a number, in order, until the terminal one; with `types`, of those alone.
        None says that nothing was sent for `limits.stream_heartbeat_s` seconds. Ends early when the server stops.
        """
        # A cursor ahead of the log would wait for ever behind the terminal event.
        after = min(after, run.latest_event_id)
        ended = run.terminal and after == run.latest_event_id
        # Not the run itself: its row may be large, and the stream long.
        tail = _RunTail(self._store.runs, run.seq)
        return self._follow(tail, run_key(run.seq), after, to_frame, frozenset(types), ended=ended)

    def follow_family(
        self, run: Run, after: int, to_frame: Callable[[FamilyEvent], bytes], types: Sequence[str] = ()
    ) -> AsyncGenerator[bytes | None, None]:
        """The same for a run and all below it, new ones included, after a position in the family; until the run and
        all below it have ended.
        """
        tail = _FamilyTail(self._store.runs, run)
        return self._follow(tail, family_key(run.root_seq or run.seq), after, to_frame, frozenset(types))

    def wake(self) -> None:
        """The server stops: end every stream."""
        for tail in self._tails.values():
            tail.wake()

    async def watch(self, run: Run, after: int) -> AsyncGenerator[RunUpdate | None, None]:
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
                    yield RunUpdate(now, events)
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

    async def _follow(
        self,
        tail: Tail[E],
        key: str,
        after: int,
        to_frame: Callable[[E], bytes],
        types: frozenset[str],
        *,
        ended: bool = False,
    ) -> AsyncGenerator[bytes | None, None]:
        loop = asyncio.get_running_loop()
        beat_at = loop.time() + limits.stream_heartbeat_s
        tail = self._join(tail, key)
        try:
            while not ended and not self._stopping.is_set():
                page = await tail.after(after, beat_at)
                if page is None:
                    if loop.time() >= beat_at:
                        yield None
                        beat_at = loop.time() + limits.stream_heartbeat_s
                    continue
                after, ended, frames = page.reached, page.ended, page.frames(to_frame, types)
                del page  # a follower that is slow to take its frames keeps nothing else
                if frames:
                    yield frames
                    beat_at = loop.time() + limits.stream_heartbeat_s
                frames = b""
        finally:
            tail.followers -= 1
            if not tail.followers:
                del self._tails[tail.name]
                self._notifier.detach(key, tail)

    def _join(self, tail: Tail[E], key: str) -> Tail[E]:
        """The tail that all followers of this log share, subscribed before any of them reads."""
        shared = self._tails.setdefault(tail.name, tail)
        if shared is tail:
            self._notifier.attach(key, tail)
        shared.followers += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._look_at = loop.time() + limits.stream_poll_s
            self._timer = loop.call_later(limits.stream_tick_s, self._tick)
        return shared

    def _tick(self) -> None:
        """One timer for all followers: heartbeats, and a look for changes whose notification was lost."""
        if not self._tails:
            self._timer = None
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(limits.stream_tick_s, self._tick)
        now = loop.time()
        for tail in self._tails.values():
            tail.wake(now)
        if self._looking is None and now >= self._look_at:
            self._look_at = now + limits.stream_poll_s
            self._looking = asyncio.ensure_future(self._look_at_all())

    async def _look_at_all(self) -> None:
        """One read for all runs that are followed, and one for each family."""
        try:
            runs: list[_RunTail] = []
            for tail in self._tails.values():
                if isinstance(tail, _RunTail):
                    runs.append(tail)
                else:
                    tail.set()
            for first in range(0, len(runs), limits.streams_checked_max):
                some = runs[first : first + limits.streams_checked_max]
                latest = await self._store.runs.latest_event_ids([tail.seq for tail in some])
                for tail in some:
                    tail.look(latest.get(tail.seq))
        except Error as error:
            log.warning("could not look for new events; trying again", error=str(error))
        finally:
            self._looking = None


class _RunTail(Tail[Event]):
    __slots__ = ("_runs", "seq")

    def __init__(self, runs: Runs, seq: int) -> None:
        super().__init__(f"run:{seq}")
        self._runs = runs
        self.seq = seq

    async def read(self, place: int) -> Page[Event]:
        rows, size = limits.event_rows_max, limits.stream_page_bytes_max
        found = await self._runs.events(self.seq, place, rows, size)
        if not found:
            return Page(found, place, ended=False)
        return Page(found, found[-1].event_id, ended=found[-1].type in TERMINAL_TYPES)


class _FamilyTail(Tail[FamilyEvent]):
    __slots__ = ("_run", "_runs")

    def __init__(self, runs: Runs, run: Run) -> None:
        super().__init__(f"family:{run.seq}")
        self._runs = runs
        self._run = run

    async def read(self, place: int) -> Page[FamilyEvent]:
        rows, size = limits.event_rows_max, limits.stream_page_bytes_max
        page = await self._runs.family_events(self._run, place, rows, size)
        return Page(page.events, page.reached, ended=page.ended and not page.more)


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
