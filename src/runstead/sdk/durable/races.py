"""The first of several waits: which one it was is a step of its own, so each try of the handler gets the same."""

import asyncio
from collections.abc import Awaitable
from typing import Final, Generic, NamedTuple, TypeVar

from runstead.sdk.durable.branch import Branch
from runstead.sdk.durable.emitter import LeaseLostError
from runstead.sdk.durable.step_runner import StepRunner, current_branch, end_branches, first_outcome
from runstead.sdk.durable.suspension import Suspend, combine_first

T = TypeVar("T")

#: The step name of a `first`.
_FIRST: Final = "first"


class First(NamedTuple, Generic[T]):
    """The wait that ended first: its name in the call, and its value."""

    name: str
    value: T


class Races(StepRunner):
    """The part of a context that waits for the first of several waits."""

    async def first(self, **waits: Awaitable[T]) -> First[T]:
        """Return the name and the value of the wait that ends first, and close the others. Raise its exception."""
        if not waits:
            raise TypeError(
                "ctx.first needs waits: ctx.first(paid=ctx.wait_for_event(…), late=ctx.sleep(600))"
            )
        branch, names = current_branch(), list(waits)
        branches: list[Branch] = []
        tasks: dict[int, asyncio.Task[T]] = {}
        try:
            step_id = self._next_step_id(branch, _FIRST)
            decided = self._history.finished.get(step_id)
            if decided is None:
                self._start(step_id, _FIRST)
            numbers = range(1, len(names) + 1) if decided is None else [decided.result["branch"]]
            with branch.running(_FIRST):
                for number in numbers:
                    branches.append(branch.child(step_id, number))
                    tasks[number] = self._in_branch(branches[-1], waits[names[number - 1]])
                winner = await first_outcome(tasks, lambda error: not isinstance(error, Suspend))
        finally:
            for one in branches:
                one.closed = True
            await end_branches(waits.values(), tasks)
        if winner is None:
            waiting = [error for task in tasks.values() if isinstance(error := task.exception(), Suspend)]
            raise branch.suspend(combine_first(waiting, self._now()))
        if decided is None and not isinstance(tasks[winner].exception(), LeaseLostError):
            self._close_steps(step_id, winner)
            self._finish(step_id, _FIRST, result={"branch": winner, "name": names[winner - 1]})
        return First(names[winner - 1], tasks[winner].result())

    def _close_steps(self, race_id: str, winner: int) -> None:
        """Close the started steps of the other branches in the log: no result of them is read."""
        for step_id, name in list(self._history.started.items()):
            if step_id.startswith(f"{race_id}.") and not step_id.startswith(f"{race_id}.{winner}."):
                self._finish(step_id, name, closed=True)
