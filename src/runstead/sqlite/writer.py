"""The one thread that writes, and the group commit.

Commands that wait while a commit is on its way to the disk share the next one, so a durable answer costs a part of an
fsync. A refusal fails alone: rules refuse before anything is written. Where SQLite itself fails, or a command broke
after it wrote, the whole group is rolled back and every command is tried once more in a transaction of its own.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from runstead import limits
from runstead.errors import Error
from runstead.seal import Replay
from runstead.sqlite.connection import trouble_with

T = TypeVar("T")
Job = Callable[[sqlite3.Connection, int], T]
"""(connection, now in ms) → result, inside a transaction. Runs again where its group failed: no other effects."""


class _Waiting(NamedTuple):
    job: Job[Any]
    future: asyncio.Future[Any]


class _Outcome(NamedTuple):
    future: asyncio.Future[Any]
    result: Any
    error: BaseException | None


def _failed(waiting: _Waiting, trouble: Exception) -> _Outcome:
    return _Outcome(waiting.future, None, trouble_with(trouble, "commit, so nothing was stored"))


class Writer:
    def __init__(self, connect: Callable[[], sqlite3.Connection], clock: Callable[[], int]) -> None:
        self._connect = connect
        self._connection: sqlite3.Connection | None = connect()
        self._clock = clock
        self._now = 0
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._closed = False
        self.waiting = 0  # commands not answered yet; touched by the event loop's thread alone
        self.commits = 0
        self.commands = 0
        self._thread.start()

    def now(self) -> int:
        """The time, for a read that has to do with it."""
        return max(self._now, self._clock())

    async def do(self, job: Job[T]) -> T:
        """The job's result, once it is durable."""
        if self._closed:
            raise Error("SHUTTING_DOWN", "The store is closing", retry_after_s=1)
        if self.waiting >= limits.writer_queue_max:
            raise Error("STORE_BUSY", "Too many writes are waiting", retry_after_s=1)
        future: asyncio.Future[T] = self._loop.create_future()
        self.waiting += 1
        self._queue.put(_Waiting(job, future))
        return await future

    async def close(self) -> None:
        """Finish what is queued, fold the log into the file, let go."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            group: list[_Waiting] = []
            item = self._queue.get()
            while True:
                if item is None:
                    stopping = True
                    break
                group.append(item)
                if len(group) == limits.writer_group_max:
                    break
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
            if group:
                outcomes = self._commit(group)
                with suppress(RuntimeError):  # the loop is gone: so is everybody who could be answered
                    self._loop.call_soon_threadsafe(self._deliver, outcomes)
        if self._connection is None:
            return
        with suppress(sqlite3.Error):  # where another process reads, the log stays until the next start
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _deliver(self, outcomes: Sequence[_Outcome]) -> None:
        self.waiting -= len(outcomes)
        for future, result, error in outcomes:
            if future.done():  # the caller went away
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def _commit(self, group: Sequence[_Waiting]) -> list[_Outcome]:
        try:
            connection = self._begin()
        except Exception as trouble:  # noqa: BLE001 - whatever it is, the thread lives on
            # It is the store that cannot, for nobody: one by one they would wait for the same lock again and again.
            return [_failed(waiting, trouble) for waiting in (*group, *self._queued())]
        outcomes = []
        try:
            for job, future in group:
                before = connection.total_changes
                try:
                    outcomes.append(_Outcome(future, job(connection, self._tick()), None))
                except (Error, Replay) as refusal:
                    if connection.total_changes != before:
                        raise
                    outcomes.append(_Outcome(future, None, refusal))
            connection.execute("COMMIT")
        except Exception as trouble:  # noqa: BLE001 - whatever it is, nobody's write may stand half
            self._roll_back(connection)
            if len(group) > 1:
                return [outcome for alone in group for outcome in self._commit([alone])]
            return [_failed(group[0], trouble)]
        self.commits += 1
        self.commands += len(group)
        return outcomes

    def _tick(self) -> int:
        self._now = max(self._now, self._clock())
        return self._now

    def _begin(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def _queued(self) -> list[_Waiting]:
        """Everybody who waits by now."""
        queued: list[_Waiting] = []
        with suppress(Empty):
            while (item := self._queue.get_nowait()) is not None:
                queued.append(item)
            self._queue.put(None)  # the order to stop is still to be heard
        return queued

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            # The connection cannot be trusted any more. Closing it rolls back whatever was open; the next group makes
            # another, which may have to wait until the disk allows it.
            self._connection = None
            with suppress(sqlite3.Error):
                connection.close()
