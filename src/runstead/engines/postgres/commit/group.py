"""Group commit: commands that arrive while a transaction is running share the next transaction.

Under high load several transactions run at a time, so that one is decided while another is on its way to the disk. Under
low load commands share one, since every transaction costs the same few statements. A refused command fails alone,
because rules decide before anything is written. If PostgreSQL refuses a group, it is rolled back and each command is
retried in its own transaction.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from runstead.core import limits
from runstead.core.errors import Error
from runstead.engines.postgres.commit.jobs import run_again
from runstead.engines.postgres.commit.transaction import Clock, Transaction, Transactions
from runstead.engines.postgres.connection import BROKEN, is_lost, trouble_with

Outcome = tuple[Any, Exception | None]
"""(result, None), or (None, error)."""

ALONE: Final[Outcome] = (None, None)
"""The outcome of a command that needs a transaction of its own."""

Decider = Callable[[Transaction, Sequence[Any], bool], Awaitable[list[Outcome]]]
"""(transaction, commands, whether the transaction has only one command) → an outcome for each. All effects are written."""


class _Waiting(NamedTuple):
    command: Any
    future: asyncio.Future[Any]
    since: float


class GroupCommit:
    def __init__(self, url: str, clock: Clock, decide: Decider) -> None:
        self._transactions = Transactions(url, clock, limits.batches_max, chained=True)
        self._decide = decide
        self._queue: deque[_Waiting] = deque()
        self._flushers: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.waiting = 0  # commands not answered yet
        self.commands = 0

    @property
    def commits(self) -> int:
        return self._transactions.commits

    async def do(self, command: Any) -> Any:
        """Return the command's result once it is durable. STORE_BUSY when the queue is full, SHUTTING_DOWN after `close`."""
        if self._closed:
            raise Error("SHUTTING_DOWN", "The store is closing", retry_after_s=1)
        if self.waiting >= limits.writer_queue_max:
            raise Error("STORE_BUSY", "Too many writes are waiting", retry_after_s=1)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting += 1
        self._queue.append(_Waiting(command, future, asyncio.get_running_loop().time()))
        if self._worth_another():
            self._begin()
        else:
            self._check_later()
        return await future

    def _worth_another(self) -> bool:
        """Whether enough commands wait to start one more transaction beside those that run."""
        busy = len(self._flushers)
        return len(self._queue) > busy * limits.batch_commands_min and busy < limits.batches_max

    def _begin(self) -> None:
        self._flushers.add(asyncio.ensure_future(self._flush()))

    def _check_later(self) -> None:
        if self._timer is None and self._queue and len(self._flushers) < limits.batches_max:
            self._timer = asyncio.get_running_loop().call_later(limits.batch_wait_s_max, self._hurry)

    def _hurry(self) -> None:
        """Start another transaction if one takes long, for example because it waits for a row."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        if self._queue and now - self._queue[0].since >= limits.batch_wait_s_max:
            self._begin()
        self._check_later()

    async def close(self) -> None:
        """Finish the queued commands, then close the sessions."""
        self._closed = True
        while self._flushers:
            await asyncio.wait(self._flushers)
        if self._timer is not None:
            self._timer.cancel()
        await self._transactions.close()

    async def _flush(self) -> None:
        """Commit groups of the queue, until it is empty or short enough for the other flushers."""
        task = asyncio.current_task()
        assert task is not None
        more = True
        try:
            while more:
                await asyncio.sleep(0)  # commands of this iteration of the event loop join the group
                group: list[_Waiting] = []
                while self._queue and len(group) < limits.batch_commands_max:
                    group.append(self._queue.popleft())
                if group:
                    self._deliver(group, await self._commit([waiting.command for waiting in group]))
                more = len(self._queue) > (len(self._flushers) - 1) * limits.batch_commands_min
        finally:
            # Not in a callback: no command may count on a flusher that has ended.
            self._flushers.discard(task)
            self._check_later()

    def _deliver(self, group: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
        self.waiting -= len(group)
        for waiting, (result, error) in zip(group, outcomes, strict=True):
            future = waiting.future
            if future.done():  # the caller was cancelled
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    async def _commit(self, commands: Sequence[Any]) -> list[Outcome]:
        if len(commands) == 1:
            return [await self._alone(commands[0])]
        try:
            outcomes = await self._transactions.run(lambda t: self._decide(t, commands, False))
        except Exception as trouble:  # noqa: BLE001 - one command's failure is not the others'
            if is_lost(trouble) or (isinstance(trouble, Error) and trouble.code.startswith("STORE_")):
                # The store is unavailable. Each command would wait for it in turn.
                reason = trouble_with(trouble, "commit, so nothing was stored")
                return [(None, reason)] * len(commands)
            return [await self._alone(command) for command in commands]
        self.commands += sum(outcome is not ALONE for outcome in outcomes)
        return [
            await self._alone(command) if outcome is ALONE else outcome
            for command, outcome in zip(commands, outcomes, strict=True)
        ]

    async def _alone(self, command: Any) -> Outcome:
        try:
            [outcome] = await run_again(self._transactions, lambda t: self._decide(t, [command], True))
        except BROKEN as trouble:
            return None, trouble_with(trouble, "commit, so nothing was stored")
        except Exception as refusal:  # noqa: BLE001 - it becomes the caller's outcome
            return None, refusal
        self.commands += 1
        return outcome
