"""Following a run's log live: replay, then whatever is appended, with nothing lost or told twice in between.

There is one log, the store's. A follower subscribes to hints before its first read, then reads by cursor whenever it
is woken, and also now and then without a hint. Followers of one run that stand at the same event share one read.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from runstead import limits
from runstead.event import TERMINAL_TYPES, Event
from runstead.notifier import Notifier, run_key
from runstead.run import Run
from runstead.store import Store

_Reads = dict[tuple[int, int], "asyncio.Task[list[Event]]"]


class Following:
    """The reads under way in this process, shared by their (run, cursor)."""

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        stopping: asyncio.Event,
    ) -> None:
        self._store = store
        self._notifier = notifier
        self._stopping = stopping
        self._reads: _Reads = {}

    async def follow(self, run: Run, after: int) -> AsyncIterator[list[Event] | None]:
        """Batches of events after a number, in order, until the terminal one. None says that nothing came for
        `limits.stream_heartbeat_s` seconds. Ends early when the server stops.
        """
        loop = asyncio.get_running_loop()
        quiet_until = loop.time() + limits.stream_heartbeat_s
        # A cursor ahead of the log would wait for ever behind the terminal event.
        after = min(after, run.latest_event_id)
        ended = run.terminal and after == run.latest_event_id
        with self._notifier.subscribe(run_key(run.seq)) as hint:
            while not ended and not self._stopping.is_set():
                hint.clear()
                events = await self._read(run.seq, after)
                if events:
                    after = events[-1].event_id
                    ended = events[-1].type in TERMINAL_TYPES
                    yield events
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    continue
                left = quiet_until - loop.time()
                if left <= 0:
                    yield None
                    quiet_until = loop.time() + limits.stream_heartbeat_s
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, limits.stream_poll_s)):
                        await hint.wait()

    async def _read(self, seq: int, after: int) -> list[Event]:
        """One read for all who stand at this event now."""
        name = (seq, after)
        task = self._reads.get(name)
        if task is not None:
            events = await asyncio.shield(task)
            if events:
                return events
            # That read may have begun before the commit whose hint the caller has just cleared. One that is under
            # way by now began after it.
            task = self._reads.get(name)
        if task is None:
            task = asyncio.ensure_future(
                self._store.runs.events(seq, after, limits.event_rows_max, limits.event_page_bytes_max)
            )
            self._reads[name] = task
            task.add_done_callback(lambda _: self._reads.pop(name, None))
        return await asyncio.shield(task)
