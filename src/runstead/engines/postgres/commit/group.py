"""Group commit: commands that arrive while a transaction is running share the next transaction.

Under high load several transactions run at a time, so that one is decided while another is on its way to the disk. Under
low load commands share one, since every transaction costs the same few statements. A refused command fails alone,
because rules decide before anything is written. A group waits for no run that another transaction has locked, and at most
`session_limits.group_lock_ms` for another lock: what cannot be committed at once goes to a lane (`lanes.py`).
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from runstead.core import limits
from runstead.core.admission import CommitWait
from runstead.core.errors import Error
from runstead.core.identity.tenant import tenant
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.commit.lanes import (
    ALONE,
    LOCKED,
    Decider,
    Lanes,
    Outcome,
    Waiting,
    is_unavailable,
    refusal_of,
)
from runstead.engines.postgres.commit.transaction import Clock, Transaction, Transactions
from runstead.engines.sql.fair_queue import FairQueue
from runstead.ports import tracing
from runstead.ports.store import RunKey


class GroupCommit:
    def __init__(self, url: str, clock: Clock, decide: Decider) -> None:
        self._transactions = Transactions(
            url,
            clock,
            session_limits.batches_max,
            chained=True,
            lock_timeout=str(session_limits.group_lock_ms),
        )
        self._decide = decide
        self._lanes = Lanes(url, clock, decide, self._deliver)
        self._queue: FairQueue[Waiting] = FairQueue(
            session_limits.batch_commands_max, limits.writer_queue_per_project_max
        )
        self._flushers: dict[
            asyncio.Task[None], float
        ] = {}  # and since when their groups are being committed
        self._timer: asyncio.TimerHandle | None = None
        self._wait = CommitWait(session_limits.batch_commands_max)
        self._closed = False
        self.waiting = 0  # commands not answered yet
        self._commands = 0

    @property
    def commits(self) -> int:
        return self._transactions.commits + self._lanes.commits

    @property
    def commands(self) -> int:
        return self._commands + self._lanes.commands

    @property
    def blocked(self) -> int:
        """Number of commands in lanes."""
        return len(self._lanes)

    def stuck_s(self) -> float:
        """Return for how long the oldest group or command outside of lanes has waited."""
        since = list(self._flushers.values())
        if self._queue:
            since.append(self._queue.head.since)
        now = asyncio.get_running_loop().time()
        return now - min(since, default=now)

    def expected_wait_s(self) -> float:
        """Return how long a new command of the current tenant would wait for its commit."""
        # New commands join a lane of their project, so an overloaded one would never become empty.
        if self._lanes.commands_of(tenant.get()) >= session_limits.batch_commands_max:
            return session_limits.session_wait_s
        return self._wait.expected_s(self._queue.ahead(), asyncio.get_running_loop().time())

    async def do(self, command: Any) -> Any:
        """Return the command's result once it is durable.

        STORE_BUSY when the queue is full, PROJECT_BUSY when too many commands of the tenant wait, SHUTTING_DOWN after
        `close`.
        """
        if self._closed:
            raise Error("SHUTTING_DOWN", "The store is closing", retry_after_s=1)
        if self.waiting >= limits.writer_queue_max:
            raise Error("STORE_BUSY", "Too many writes are waiting", retry_after_s=1)
        loop = asyncio.get_running_loop()
        trace = None if tracing.tracer is None else tracing.command_context()
        waiting = Waiting(command, loop.create_future(), loop.time(), trace)
        self.waiting += 1
        if command.is_rare:
            self._lanes.add(waiting, command.lane)
        elif not self._lanes.joined(waiting):
            try:
                self._queue.append(waiting)
            except Error:
                self.waiting -= 1
                raise
            self._wait.began(waiting.since)
            if self._worth_another():
                self._begin()
            else:
                self._check_later()
        return await waiting.future

    def _worth_another(self) -> bool:
        """Whether enough commands wait to start one more transaction beside those that run."""
        busy = len(self._flushers)
        return (
            len(self._queue) > busy * session_limits.batch_commands_min and busy < session_limits.batches_max
        )

    def _begin(self) -> None:
        self._flushers[asyncio.ensure_future(self._flush())] = asyncio.get_running_loop().time()

    def _check_later(self) -> None:
        if self._timer is None and self._queue and len(self._flushers) < session_limits.batches_max:
            self._timer = asyncio.get_running_loop().call_later(session_limits.batch_wait_s_max, self._hurry)

    def _hurry(self) -> None:
        """Start another transaction if one takes long, for example because it waits for a lock."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        if self._queue and now - self._queue.head.since >= session_limits.batch_wait_s_max:
            self._begin()
        self._check_later()

    async def close(self) -> None:
        """Finish the queued commands, then close the sessions."""
        self._closed = True
        while self._flushers:
            await asyncio.wait(self._flushers)
        if self._timer is not None:
            self._timer.cancel()
        await self._lanes.close()
        await self._transactions.close()

    async def _flush(self) -> None:
        """Commit groups of the queue, until it is empty or short enough for the other flushers."""
        task = asyncio.current_task()
        assert task is not None
        more = True
        try:
            while more:
                await asyncio.sleep(0)  # commands of this iteration of the event loop join the group
                if group := self._queue.take(session_limits.batch_commands_max):
                    self._flushers[task] = asyncio.get_running_loop().time()
                    await self._commit(group)
                    now = asyncio.get_running_loop().time()
                    self._wait.ended(len(group), now, more=bool(self._queue))
                more = len(self._queue) > (len(self._flushers) - 1) * session_limits.batch_commands_min
        finally:
            # Not in a callback: no command may count on a flusher that has ended.
            del self._flushers[task]
            self._check_later()

    def _deliver(self, waiting: Waiting, outcome: Outcome) -> None:
        self.waiting -= 1
        future = waiting.future
        if future.done():  # the caller was cancelled
            return
        result, error = outcome
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    async def _commit(self, group: Sequence[Waiting]) -> None:
        commands = [waiting.command for waiting in group]

        async def work(transaction: Transaction) -> list[Outcome]:
            return await self._decide(transaction, commands, alone=False, waits=False)

        began_ns = 0 if tracing.tracer is None else tracing.now_ns()
        try:
            outcomes = await self._transactions.run(work)
        except Exception as trouble:  # noqa: BLE001 - one command's failure is not the others'
            refusal = refusal_of(trouble)
            for waiting in group:
                if is_unavailable(trouble):
                    self._deliver(waiting, (None, refusal))
                else:
                    self._lanes.add(waiting, RunKey(waiting.command.project_id, ""))
            return
        if began_ns:
            tracing.commit_span("postgresql", [waiting.trace for waiting in group], began_ns)
        for waiting, outcome in zip(group, outcomes, strict=True):
            if outcome is ALONE or outcome is LOCKED:
                self._lanes.add(waiting, waiting.command.lane)
            else:
                self._commands += 1
                self._deliver(waiting, outcome)
