"""Follow a log live: replay its events, then each appended event, without a gap or a duplicate.

The store's log is the only copy. A follower subscribes to change notifications before its first read. It
reads by cursor after each notification, and every `limits.stream_poll_s` without one. Followers of one log at
the same event share one read and its encoded frames (`tail.py`); each selects its event types from them.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from typing import Any, NamedTuple, TypeVar

import structlog

from runstead.commands.tail import Page, Tail, Typed
from runstead.core import limits
from runstead.core.batches.batch import Batch
from runstead.core.errors import Error
from runstead.core.runs.event import TERMINAL_TYPES, Event, FamilyEvent
from runstead.core.runs.run import Run
from runstead.ports.notifier import Notifier, batch_key, family_key, pause, run_key
from runstead.ports.store import RunKey, Runs, Store

log = structlog.get_logger(__name__)

T = TypeVar("T")
E = TypeVar("E", bound=Typed)
_Version = tuple[int, int, int]


class RunUpdate(NamedTuple):
    """A run, and the events that were appended since the previous update, in order."""

    run: Run
    events: Sequence[Event]


class Followers:
    """The followers of this process. Those that read the same rows at the same time share one read."""

    def __init__(self, store: Store, notifier: Notifier, stopping: asyncio.Event) -> None:
        self._store = store
        self._notifier = notifier
        self._stopping = stopping
        self._reads = _Reads()
        self._tails: dict[str, Tail[Any]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._poll_at = 0.0
        self._polling: asyncio.Task[None] | None = None

    def follow(
        self, run: Run, after: int, to_frame: Callable[[Event], bytes], types: Sequence[str] = ()
    ) -> AsyncGenerator[bytes | None, None]:
        """Yield the frames of a run's events after an event id, until the terminal event.

        With `types`, only events of these types are sent. None is a heartbeat, after
        `limits.stream_heartbeat_s` seconds of silence. Ends when the server stops.
        """
        # A cursor ahead of the log would wait forever after the terminal event.
        after = min(after, run.latest_event_id)
        ended = run.terminal and after == run.latest_event_id
        # The tail keeps the seq only: the row may be large, and the stream long.
        tail = _RunTail(self._store.runs, run.seq, run.latest_event_id)
        return self._follow(tail, run_key(run.seq), after, to_frame, frozenset(types), ended=ended)

    def follow_family(
        self, run: Run, after: int, to_frame: Callable[[FamilyEvent], bytes], types: Sequence[str] = ()
    ) -> AsyncGenerator[bytes | None, None]:
        """Yield the frames of a run and its descendants after a position, until all have ended.

        Descendants that are created meanwhile are included.
        """
        tail = _FamilyTail(self._store.runs, run)
        return self._follow(tail, family_key(run.root_seq or run.seq), after, to_frame, frozenset(types))

    def wake(self) -> None:
        """End every stream because the server stops."""
        for tail in self._tails.values():
            tail.wake()

    async def watch(self, run: Run, after: int) -> AsyncGenerator[RunUpdate | None, None]:
        """Yield a run and its new events, at once and after each change of the run or its family.

        Changes without an event are included, such as a claim. Changes during a slow iteration arrive as one
        update. None is a heartbeat. Ends after the terminal event, on deletion, and when the server stops.
        """
        loop = asyncio.get_running_loop()
        after = min(after, run.latest_event_id)
        last: _Version | None = None
        quiet_until = loop.time() + limits.stream_heartbeat_s
        with self._notifier.subscribe(family_key(run.root_seq or run.seq)) as change:
            while not self._stopping.is_set():
                notified = change.is_set()
                change.clear()
                # The row is read first, so that a status is never shown before its events.
                current = await self._read_run(run, last)
                if current is None or current.seq != run.seq:
                    return
                events = await _next_events(self._store.runs, self._reads, run.seq, after)
                if events or notified or _version(current) != last:
                    yield RunUpdate(current, events)
                    last, after = _version(current), events[-1].event_id if events else after
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    if current.terminal and after >= current.latest_event_id:
                        return
                    if events:
                        continue
                left = quiet_until - loop.time()
                if left <= 0:
                    yield None
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    continue
                await pause(change, min(left, limits.stream_poll_s))

    async def _read_run(self, run: Run, last: _Version | None) -> Run | None:
        """Read the row once for all watchers of the run."""
        key = RunKey(run.project_id, run.run_id)
        return await self._reads.share(
            ("run", run.seq), lambda: self._store.runs.get(key), lambda found: _version(found) != last
        )

    async def follow_batch(self, batch: Batch) -> AsyncIterator[Batch | None]:
        """Yield a batch at once and after changes of its counters, until it completes.

        At most one update is sent per `limits.batch_progress_interval_s`. None is a heartbeat. Ends when the
        server stops.
        """
        loop = asyncio.get_running_loop()
        last: Batch | None = None
        quiet_until = loop.time() + limits.stream_heartbeat_s
        with self._notifier.subscribe(batch_key(batch.id)) as change:
            while not self._stopping.is_set():
                change.clear()
                found = await self._read_batch(batch, last)
                if found != last:
                    yield found
                    if found.completed_at is not None:
                        return
                    last = found
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    await pause(self._stopping, limits.batch_progress_interval_s)
                    continue
                left = quiet_until - loop.time()
                if left <= 0:
                    yield None
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    continue
                await pause(change, min(left, limits.stream_poll_s))

    async def _read_batch(self, batch: Batch, last: Batch | None) -> Batch:
        """Read the batch once for all its followers."""
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
                del page  # a slow follower keeps only its frames in memory
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
        """Join the shared tail of this log. It is subscribed before any follower reads."""
        shared = self._tails.setdefault(tail.name, tail)
        shared.known = max(shared.known, tail.known)
        if shared is tail:
            self._notifier.attach(key, tail)
        shared.followers += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._poll_at = loop.time() + limits.stream_poll_s
            # Not in the context of this request: the timer serves all followers, and logs no request id.
            self._timer = loop.call_later(limits.stream_tick_s, self._tick, context=Context())
        return shared

    def _tick(self) -> None:
        """Send heartbeats, and poll for changes whose notification was lost.

        One timer serves all followers.
        """
        if not self._tails:
            self._timer = None
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(limits.stream_tick_s, self._tick)
        now = loop.time()
        for tail in self._tails.values():
            tail.wake(now)
        if self._polling is None and now >= self._poll_at:
            self._poll_at = now + limits.stream_poll_s
            self._polling = asyncio.ensure_future(self._poll_all())

    async def _poll_all(self) -> None:
        """Compare the newest event ids of all followed runs, and read each followed family."""
        try:
            runs: list[_RunTail] = []
            for tail in self._tails.values():
                if isinstance(tail, _RunTail):
                    runs.append(tail)
                else:
                    tail.set()
            for first in range(0, len(runs), limits.streams_checked_max):
                group = runs[first : first + limits.streams_checked_max]
                latest = await self._store.runs.latest_event_ids([tail.seq for tail in group])
                for tail in group:
                    tail.compare(latest.get(tail.seq))
        except Error as error:
            log.warning("polling for new events failed and will be retried", error=str(error))
        finally:
            self._polling = None


class _RunTail(Tail[Event]):
    __slots__ = ("_runs", "seq")

    def __init__(self, runs: Runs, seq: int, known: int) -> None:
        super().__init__(f"run:{seq}", known)
        self._runs = runs
        self.seq = seq

    async def read(self, position: int) -> Page[Event]:
        rows, size = limits.event_rows_max, limits.stream_page_bytes_max
        found = await self._runs.events(self.seq, position, rows, size, known=self.known)
        if not found:
            return Page(found, position, ended=False)
        return Page(found, found[-1].event_id, ended=found[-1].type in TERMINAL_TYPES)


class _FamilyTail(Tail[FamilyEvent]):
    __slots__ = ("_run", "_runs")

    def __init__(self, runs: Runs, run: Run) -> None:
        super().__init__(f"family:{run.seq}")
        self._runs = runs
        self._run = run

    async def read(self, position: int) -> Page[FamilyEvent]:
        rows, size = limits.event_rows_max, limits.stream_page_bytes_max
        page = await self._runs.family_events(self._run, position, rows, size)
        return Page(page.events, page.reached, ended=page.ended and not page.more)


class _Reads:
    """Reads in progress, by what they read."""

    def __init__(self) -> None:
        self._in_progress: dict[Hashable, asyncio.Task[Any]] = {}

    async def share(self, name: Hashable, read: Callable[[], Awaitable[T]], is_new: Callable[[T], bool]) -> T:
        """Join the read in progress under this name, or start one.

        `is_new`: the result answers the caller.
        """
        task: asyncio.Task[T] | None = self._in_progress.get(name)
        if task is not None:
            found = await asyncio.shield(task)
            if is_new(found):
                return found
            # That read may have begun before the commit that the caller was notified of. Any read that is in
            # progress now began after the commit.
            task = self._in_progress.get(name)
        if task is None:
            task = asyncio.ensure_future(read())
            self._in_progress[name] = task
            task.add_done_callback(lambda _: self._in_progress.pop(name, None))
        return await asyncio.shield(task)


def _version(run: Run | None) -> _Version | None:
    """A key that changes with every change of the row. Counters of descendants change without the version."""
    return None if run is None else (run.version, run.descendants_total, run.descendants_active)


async def _next_events(runs: Runs, reads: _Reads, seq: int, after: int) -> list[Event]:
    return await reads.share(
        (seq, after),
        lambda: runs.events(seq, after, limits.event_rows_max, limits.stream_page_bytes_max),
        bool,
    )
