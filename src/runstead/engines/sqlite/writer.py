"""The one connection that writes, and the group commit.

Commands that arrive while a commit is on its way to the disk share the next commit, so a durable answer costs a part of
an fsync. A refused command fails alone, because rules refuse before anything is written. If SQLite fails, or a command
raises after it wrote, the whole group is rolled back and each command is retried in its own transaction.

Quick jobs run their statements on the event loop and only COMMIT in the thread: a switch between threads costs more than
the statements. The thread does what may take long: it opens the file, waits for another process's lock, runs other jobs
and the rest of a group that has held the loop for its share of time, and handles failures. Either the loop or the thread
uses the connection, never both: `_orders.put` passes it to the thread, `_deliver` returns it to the loop.

Quick jobs and the others take turns, each in groups of their own, so that a long job delays no quick one that came
after it by more than its own time. A group that has held the connection for its share of time is committed, and the
rest of its commands wait for the next one. Long queues are served round robin over tenants.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

import msgspec

from runstead.core import limits
from runstead.core.admission import CommitWait
from runstead.core.errors import Error
from runstead.core.idempotency import ReplayedResponse
from runstead.engines.sql.fair_queue import FairQueue
from runstead.engines.sqlite.connection import trouble_with
from runstead.engines.sqlite.run_cache import WriterCache
from runstead.ports import tracing

T = TypeVar("T")
Job = Callable[[sqlite3.Connection, int], T]
"""(connection, now in ms) → result, inside a transaction. It may run again after its group failed, so it has no other
effects. Its result holds no cursor: a cursor would use the connection while the thread has it.
"""


class _LeaveLoopError(Exception):
    """The job must run in the thread."""


class _Command(msgspec.Struct, frozen=True):
    job: Job[Any]
    future: asyncio.Future[Any]
    quick: bool
    keeps_cache: bool
    trace: Any = None  # the context of the command's span


class _Outcome(msgspec.Struct, frozen=True):
    future: asyncio.Future[Any]
    result: Any
    error: BaseException | None


class _Group:
    """The commands of one transaction, and the outcomes so far."""

    __slots__ = ("began_ns", "begun", "commands", "failure", "full", "outcomes")

    def __init__(self, commands: Sequence[_Command]) -> None:
        self.commands = commands
        self.outcomes: list[_Outcome] = []
        self.begun = False
        self.began_ns = 0 if tracing.tracer is None else tracing.now_ns()
        self.full = False  # it is committed as it is
        self.failure: Exception | None = None


def _queue() -> FairQueue[_Command]:
    return FairQueue(limits.writer_group_max, limits.writer_queue_per_project_max)


def _failed(command: _Command, failure: Exception) -> _Outcome:
    return _Outcome(command.future, None, trouble_with(failure, "commit, so nothing was stored"))


class Writer:
    def __init__(self, connect: Callable[[], sqlite3.Connection], clock: Callable[[], int]) -> None:
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._lock_ms = 0
        self._data_version: int | None = None
        self._open()
        self._clock = clock
        self._now = 0
        self._loop = asyncio.get_running_loop()
        self._quick, self._others = _queue(), _queue()
        self._wait = CommitWait(limits.writer_group_max)  # of quick commands
        self._quick_were_last = False  # the last group was one of quick jobs
        self._orders: SimpleQueue[_Group | None] = SimpleQueue()
        self._busy = False  # a group is being executed or committed
        self._loop_spared_until = 0.0
        self._closed = False
        self.cache = WriterCache()
        self.on_loop = False  # a job is running on the event loop
        self.waiting = 0  # commands not answered yet
        self.commits = 0
        self.commands = 0
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def now(self) -> int:
        """The time in ms, for reads. It never runs backwards."""
        return max(self._now, self._clock())

    async def do(self, job: Job[T], *, quick: bool = False, keeps_cache: bool = False) -> T:
        """Return the job's result once it is durable.

        `keeps_cache`: the job keeps the cache true to what it writes. `quick`: it does so too, and takes well under a
        millisecond or calls `leave_loop`. STORE_BUSY when the queue is full, PROJECT_BUSY when too many commands of the
        tenant wait, SHUTTING_DOWN after `close`.
        """
        if self._closed:
            raise Error("SHUTTING_DOWN", "The store is closing", retry_after_s=1)
        if self.waiting >= limits.writer_queue_max:
            raise Error("STORE_BUSY", "Too many writes are waiting", retry_after_s=1)
        future: asyncio.Future[T] = self._loop.create_future()
        trace = None if tracing.tracer is None else tracing.command_context()
        command = _Command(job, future, quick, quick or keeps_cache, trace)
        (self._quick if quick else self._others).append(command)
        if quick:
            self._wait.began(self._loop.time())
        self.waiting += 1
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._next)
        return await future

    def expected_wait_s(self) -> float:
        """Return how long a new quick command of the current tenant would wait for its commit."""
        return self._wait.expected_s(self._quick.ahead(), self._loop.time())

    def leave_loop(self) -> None:
        """Move a quick job that will take long to the thread, where it runs again in the same transaction.

        Called before the job's first write. Does nothing in the thread.
        """
        if self.on_loop:
            raise _LeaveLoopError

    async def close(self) -> None:
        """Finish the queued commands, checkpoint the write-ahead log, and close the connection."""
        if self._closed:
            return
        self._closed = True
        if not self._busy:
            self._orders.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    # On the event loop

    def _next(self) -> None:
        """Start the next group, if commands are queued."""
        if self._quick and not (self._quick_were_last and self._others):
            group = _Group(self._quick.take(limits.writer_group_max))
            self._quick_were_last = True
            if self._connection is not None:
                self._begin_on_loop(self._connection, group)
        elif self._others:
            group = _Group(self._others.take(limits.writer_others_max))
            self._quick_were_last = False
        else:
            self._busy = self._quick_were_last = False
            if self._closed:
                self._orders.put(None)
            return
        self._orders.put(group)

    def _begin_on_loop(self, connection: sqlite3.Connection, group: _Group) -> None:
        """Run the quick jobs here. The thread does the rest."""
        began = time.perf_counter()
        if began < self._loop_spared_until:
            return
        try:
            self._begin_with(connection)
        except (
            sqlite3.Error
        ):  # another process writes, or the file has failed: the thread waits or reports it
            return
        group.begun = True
        self.on_loop = True
        try:
            group.full = self._execute(connection, group, began + limits.loop_blocked_s_max)
        except Exception as failure:  # noqa: BLE001 - the thread rolls back after any failure
            group.failure = failure
        finally:
            self.on_loop = False
        held = time.perf_counter() - began
        # Many quick jobs are a full group. Few ones are for example a slow disk, and the thread waits for it.
        if held > max(limits.loop_blocked_s_max, len(group.outcomes) * limits.loop_job_s_max):
            group.full = False
            self._loop_spared_until = began + held * limits.loop_spared_factor

    def _deliver(self, group: _Group, no_begin: Exception | None) -> None:
        """Resolve the futures of a group that has ended, and start the next group."""
        outcomes = group.outcomes
        left = group.commands[len(outcomes) :]
        if group.began_ns:
            traces = [command.trace for command in group.commands[: len(outcomes)]]
            tracing.commit_span("sqlite", traces, group.began_ns)
        if left:
            (self._quick if left[0].quick else self._others).put_back(left)
        quick_wait = bool(self._quick)
        if group.commands[0].quick:
            self._wait.ended(len(outcomes), self._loop.time(), more=quick_wait)
        if no_begin is not None:
            # The store cannot begin a transaction. Each queued command would wait for the same lock in turn.
            for queue in (self._quick, self._others):
                outcomes += [_failed(command, no_begin) for command in queue.take(len(queue))]
            quick_wait = False
        self.waiting -= len(outcomes)
        for outcome in outcomes:
            future = outcome.future
            if future.done():  # the caller was cancelled
                continue
            if outcome.error is None:
                future.set_result(outcome.result)
            else:
                future.set_exception(outcome.error)
        if quick_wait or self._others or self._closed:
            self._loop.call_soon(self._next)
        else:
            self._busy = self._quick_were_last = False

    # On either

    def _execute(self, connection: sqlite3.Connection, group: _Group, until: float) -> bool:
        """Run the group's jobs inside the transaction, at least one, until the time `until` of `perf_counter`.

        On the loop it stops at a job for the thread. Return whether it stopped at the time.
        """
        for command in group.commands[len(group.outcomes) :]:
            if group.outcomes and time.perf_counter() > until:
                return True
            before = connection.total_changes
            try:
                result = command.job(connection, self._tick())
            except (Error, ReplayedResponse) as refusal:
                if connection.total_changes != before:
                    raise
                group.outcomes.append(_Outcome(command.future, None, refusal))
            except _LeaveLoopError:
                assert connection.total_changes == before, "a job left the loop after it wrote"
                return False
            else:
                if not command.keeps_cache and connection.total_changes != before:
                    self.cache.clear()
                group.outcomes.append(_Outcome(command.future, result, None))
        return False

    def _begin_with(self, connection: sqlite3.Connection) -> None:
        """Begin a transaction. Clear the cache if another process has written since the last one."""
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            self.cache.clear()
            self._data_version = version

    def _tick(self) -> int:
        self._now = max(self._now, self._clock())
        return self._now

    # In the thread

    def _run(self) -> None:
        while (group := self._orders.get()) is not None:
            no_begin = self._commit(group)
            with suppress(RuntimeError):  # the loop is closed: no caller waits
                self._loop.call_soon_threadsafe(self._deliver, group, no_begin)
        if self._connection is None:
            return
        with suppress(sqlite3.Error):  # if another process reads, the log stays until the next start
            self._connection.execute(f"PRAGMA busy_timeout = {self._lock_ms}")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _commit(self, group: _Group) -> Exception | None:
        """Execute and commit a group. Return the failure if no transaction could begin."""
        try:
            connection = self._connection if group.begun else self._begin()
            assert connection is not None
        except Exception as failure:  # noqa: BLE001 - the thread survives any failure
            group.outcomes = [_failed(command, failure) for command in group.commands]
            return failure
        try:
            if group.failure is not None:
                raise group.failure
            held = limits.writer_quick_s_max if group.commands[0].quick else limits.writer_others_s_max
            if not group.full:
                self._execute(connection, group, time.perf_counter() + held)
            connection.execute("COMMIT")
        except Exception as failure:  # noqa: BLE001 - no command may be stored in part
            self._roll_back(connection)
            if len(group.commands) > 1:
                return self._commit_each(group)
            group.outcomes = [_failed(group.commands[0], failure)]
            return None
        self.commits += 1
        self.commands += len(group.outcomes)
        return None

    def _commit_each(self, group: _Group) -> Exception | None:
        """Retry each command of a failed group in its own transaction."""
        group.outcomes = []
        for place, command in enumerate(group.commands):
            alone = _Group([command])
            no_begin = self._commit(alone)
            group.outcomes += alone.outcomes
            if no_begin is not None:
                group.outcomes += [_failed(other, no_begin) for other in group.commands[place + 1 :]]
                return no_begin
        return None

    def _begin(self) -> sqlite3.Connection:
        """Begin a transaction. Waits for another process's lock as long as the connection's busy timeout."""
        connection = self._open() if self._connection is None else self._connection
        connection.execute(f"PRAGMA busy_timeout = {self._lock_ms}")
        try:
            self._begin_with(connection)
        finally:
            connection.execute("PRAGMA busy_timeout = 0")
        return connection

    def _open(self) -> sqlite3.Connection:
        connection = self._connect()
        (self._lock_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
        connection.execute("PRAGMA busy_timeout = 0")
        self._data_version = None  # each connection has its own count
        self._connection = connection
        return connection

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        self.cache.clear()
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            # The connection's state is unknown. Closing it rolls back; the next group opens another, which may have to
            # wait until the disk allows it.
            self._connection = None
            with suppress(sqlite3.Error):
                connection.close()
