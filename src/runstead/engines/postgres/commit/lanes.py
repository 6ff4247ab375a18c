"""Lanes: transactions beside the group commit, for commands that would hold up the commands of other callers.

A command goes to the lane of its run if it needs a transaction of its own, or if another transaction has locked its
run. Its lane waits for the lock; commands for the same run join it. The commands of a group that PostgreSQL refused go to a
lane for each project. A project has few lanes at a time, and projects take turns.
"""

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from runstead.core.errors import Error
from runstead.engines.postgres import session_limits
from runstead.engines.postgres.commit.jobs import run_again
from runstead.engines.postgres.commit.transaction import Clock, Transaction, Transactions
from runstead.engines.postgres.connection import BROKEN, is_lost, trouble_with
from runstead.ports import tracing
from runstead.ports.store import RunKey


class Waiting(NamedTuple):
    """A command, the future of its caller, since when it waits (the event loop's time), and its span's context."""

    command: Any
    future: asyncio.Future[Any]
    since: float
    trace: Any = None


Outcome = tuple[Any, Exception | None]
"""(result, None), or (None, error)."""

ALONE: Final[Outcome] = (None, None)
"""The outcome of a command that needs a transaction of its own."""

LOCKED: Final[Outcome] = (None, asyncpg.LockNotAvailableError("another transaction has locked the run"))
"""The outcome of a command whose run is locked, in a transaction that does not wait for locks of runs."""

Decider = Callable[..., Awaitable[list[Outcome]]]
"""decide(transaction, commands, alone=…, waits=…) → an outcome for each command, with all effects written.

`alone`: the transaction has only this command. `waits`: it waits for runs that other transactions have locked.
"""


def is_unavailable(trouble: Exception) -> bool:
    """Whether the store is unavailable, so that a retry of each command would wait for it in turn."""
    return is_lost(trouble) or (isinstance(trouble, Error) and trouble.code.startswith("STORE_"))


def refusal_of(trouble: Exception) -> Exception:
    return trouble_with(trouble, "commit, so nothing was stored")


class Lanes:
    def __init__(
        self, url: str, clock: Clock, decide: Decider, deliver: Callable[[Waiting, Outcome], None]
    ) -> None:
        self._transactions = Transactions(url, clock, session_limits.lanes_max)
        self._decide = decide
        self._deliver = deliver
        self._lanes: dict[RunKey, deque[Waiting]] = {}
        self._ready: OrderedDict[str, deque[RunKey]] = OrderedDict()  # lanes that wait, by project
        self._running: dict[str, int] = defaultdict(int)  # lanes, by project
        self._of_project: dict[str, int] = defaultdict(int)  # commands
        self._tasks: set[asyncio.Task[None]] = set()
        self.commands = 0

    @property
    def commits(self) -> int:
        return self._transactions.commits

    def __len__(self) -> int:
        """Number of commands."""
        return sum(self._of_project.values())

    def commands_of(self, project_id: str) -> int:
        """Number of commands of a project."""
        return self._of_project.get(project_id, 0)

    def joined(self, waiting: Waiting) -> bool:
        """Add the command if its run or its project has a lane. Return whether it was added."""
        if not self._lanes:
            return False
        for lane in (waiting.command.lane, RunKey(waiting.command.project_id, "")):
            if lane in self._lanes:
                self.add(waiting, lane)
                return True
        return False

    def add(self, waiting: Waiting, lane: RunKey) -> None:
        """Add a command to the lane. PROJECT_BUSY, as its outcome, if too many commands of its project are in lanes."""
        if self._of_project[lane.project_id] >= session_limits.lane_commands_max:
            self._deliver(waiting, (None, _busy()))
            return
        self._of_project[lane.project_id] += 1
        if lane in self._lanes:
            self._lanes[lane].append(waiting)
            return
        self._lanes[lane] = deque([waiting])
        self._ready.setdefault(lane.project_id, deque()).append(lane)
        self._start()

    def _start(self) -> None:
        """Start lanes, as many as may run. Projects take turns."""
        for project_id in list(self._ready):
            if len(self._tasks) >= session_limits.lanes_max:
                return
            if self._running[project_id] >= session_limits.lanes_per_project_max:
                continue
            lanes = self._ready[project_id]
            self._tasks.add(asyncio.ensure_future(self._run(lanes.popleft())))
            self._running[project_id] += 1
            if lanes:
                self._ready.move_to_end(project_id)
            else:
                del self._ready[project_id]

    async def _run(self, lane: RunKey) -> None:
        """Commit one group of the lane, and queue the lane again if it has more."""
        task = asyncio.current_task()
        assert task is not None
        commands = self._lanes[lane]
        group = [commands.popleft() for _ in range(min(len(commands), session_limits.batch_commands_max))]
        try:
            await self._commit(self._in_time(group), lane)
        finally:
            project_id = lane.project_id
            self._tasks.discard(task)
            self._running[project_id] -= 1
            self._of_project[project_id] -= len(group)
            if commands:
                self._ready.setdefault(project_id, deque()).append(lane)
            else:
                del self._lanes[lane]
            if not self._of_project[project_id]:
                del self._of_project[project_id], self._running[project_id]
            self._start()

    def _in_time(self, group: Sequence[Waiting]) -> list[Waiting]:
        """The commands that have not waited for too long. The others are refused."""
        since = asyncio.get_running_loop().time() - session_limits.session_wait_s
        for waiting in group:
            if waiting.since < since:
                self._deliver(waiting, (None, _busy()))
        return [waiting for waiting in group if waiting.since >= since]

    async def _commit(self, group: Sequence[Waiting], lane: RunKey) -> None:
        if not group:
            return
        alone, of_one_run = len(group) == 1, lane.run_id != ""
        commands = [waiting.command for waiting in group]

        async def work(transaction: Transaction) -> list[Outcome]:
            return await self._decide(transaction, commands, alone=alone, waits=alone or of_one_run)

        began_ns = 0 if tracing.tracer is None else tracing.now_ns()
        try:
            outcomes = await run_again(self._transactions, work)
        except Exception as trouble:  # noqa: BLE001 - it becomes the outcome of commands
            locked = isinstance(trouble, asyncpg.LockNotAvailableError)
            if alone or is_unavailable(trouble) or (locked and of_one_run):
                refusal = refusal_of(trouble) if isinstance(trouble, BROKEN) else trouble
                for waiting in group:
                    self._deliver(waiting, (None, refusal))
            elif locked:
                self._scatter(group)
            else:
                half = len(group) // 2
                await self._commit(group[:half], lane)
                await self._commit(group[half:], lane)
            return
        if began_ns:
            tracing.commit_span("postgresql", [waiting.trace for waiting in group], began_ns)
        for waiting, outcome in zip(group, outcomes, strict=True):
            if outcome is ALONE:
                await self._commit([waiting], lane)
            elif outcome is LOCKED:
                self._scatter([waiting])
            else:
                self.commands += 1
                self._deliver(waiting, outcome)

    def _scatter(self, group: Sequence[Waiting]) -> None:
        """Move commands from the lane of a project to the lanes of their runs."""
        for waiting in group:
            self.add(waiting, waiting.command.lane)

    async def close(self) -> None:
        """Finish the commands, then close the sessions."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._transactions.close()


def _busy() -> Error:
    return Error("PROJECT_BUSY", "Too many writes of the project wait for locked runs", retry_after_s=1)
